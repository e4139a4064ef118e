"""Functions that run on several ranks in real processes (gloo), for tests.

The ranks are forked from one process that has imported torch and DeepSpeed, since the imports take seconds.
"""

import importlib
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ports import free_port

ROOT = Path(__file__).resolve().parent.parent
PRELOAD = [
    "deepspeed",
    "jsonargparse",
    "torch.utils.tensorboard",
    "pipeline.jobs.pretraining",
    "pipeline.families.bert",
    "torch._dynamo",  # torch's optimizers import it when they are made
    "deepspeed.runtime.zero.muon.muon_optimizer",  # ZeRO imports it, and with it torch's whole compiler
    "deepspeed.module_inject.auto_ep_layer",  # its engine imports it
    "torch.utils.cpp_extension",  # loads the CPU's kernel, and imports setuptools
    "numpy.ma",
    "toml",
    "pipeline.kernels.lamb.cpu",
    "pipeline.kernels.native.cross_entropy",
    "pipeline.model.pretraining",
    "pipeline.pretrain",
    "tests.recipe_parser",
]
AT_IMPORT = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
"""Environment that libraries read when they are imported."""


@cache
def server() -> ForkServerContext:
    """Start the process from which ranks are forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with patch.dict(os.environ, AT_IMPORT):
        context.Process(target=int).start()
    return context


def start_ranks(
    function: Callable[..., Any], world_size: int, *args: Any, folder: Path, **environment: str
) -> list[ForkServerProcess]:
    """Begin `function(*args)` on `world_size` ranks.

    Args:
        function: a top-level function of a test file; RANK, WORLD_SIZE and the rendezvous are in its environment.
        world_size: number of ranks.
        args: pickled.
        folder: gets `RANK.log`, what the rank printed, and `RANK`, its pickled result.
        environment: further variables.
    """
    source, port = Path(sys.modules[function.__module__].__file__ or ""), free_port()
    (folder / "job").write_bytes(pickle.dumps((source.stem, function.__name__, args)))
    processes = []
    for rank in range(world_size):
        variables = os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world_size),
            "LOCAL_WORLD_SIZE": str(world_size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            **AT_IMPORT,
            **environment,
        }
        paths = [str(ROOT), str(ROOT / "tests"), str(source.parent)]
        process = server().Process(target=be_rank, args=(variables, paths, folder, rank))
        process.start()
        processes.append(process)
    return processes


def ended(processes: list[ForkServerProcess], timeout: float) -> list[int | None]:
    """Wait until the ranks end, and kill those still at work after `timeout` seconds; return exit codes, None for the
    killed.
    """
    end = time.monotonic() + timeout
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    return codes


def on_ranks(function: Callable[..., Any], world_size: int, *args: Any, timeout: float = 900) -> list[Any]:
    """Call `function(*args)` on `world_size` ranks and return their results in rank order; see `start_ranks`.

    A rank that fails fails the test with its output.
    """
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        codes = ended(start_ranks(function, world_size, *args, folder=folder), timeout)
        logs = "\n".join((folder / f"{rank}.log").read_text()[-3000:] for rank in range(world_size) if codes[rank])
        assert codes == [0] * world_size, f"exit codes {codes}\n{logs}"
        return [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(world_size)]


def skip_counting() -> None:
    """Give the FLOPs of the model, whose count takes 0.7 s at each start and which only MFU depends on, a constant.

    `tests/pipeline/model/test_flops.py`, `tests/pipeline/families/` and `tests/pipeline/jobs/test_loop.py` test the
    count, and runs that a launcher starts train with it.
    """
    from pipeline.jobs import loop
    from pipeline.model.flops import Flops

    loop.measure = lambda build, config: Flops(1.0, 1.0, 1.0, 1.0)


def be_rank(environment: dict[str, str], paths: list[str], folder: Path, rank: int) -> None:
    """Run the function on one rank; its output goes into `rank`.log, its result into `rank`."""
    log = os.open(folder / f"{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(environment)
    sys.path[:0] = paths
    skip_counting()
    module, name, args = pickle.loads((folder / "job").read_bytes())
    result = getattr(importlib.import_module(module), name)(*args)
    (folder / str(rank)).write_bytes(pickle.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # as `pipeline.runtime.command` ends: what libraries tear down at exit is not under test
