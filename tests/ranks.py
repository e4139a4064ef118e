"""Run a function on several ranks in real processes (gloo), for tests."""

import os
import pickle
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CHILD = """
import pickle, sys
sys.path[:0] = {paths!r}
module, name, args = pickle.load(open({job!r}, "rb"))
function = getattr(__import__(module), name)
with open({result!r} + ".part", "wb") as file:
    pickle.dump(function(*args), file)
import os; os.replace({result!r} + ".part", {result!r})
os._exit(0)  # as `pipeline.command` ends: what libraries tear down at exit is not under test
"""


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def on_ranks(function: Callable[..., Any], world_size: int, *args: Any, timeout: float = 240) -> list[Any]:
    """Call `function(*args)` on `world_size` ranks and return their results in rank order.

    `function` is a top-level function of a test file; RANK, WORLD_SIZE and the rendezvous are in the environment.
    A rank that fails fails the test with its output.
    """
    source = Path(sys.modules[function.__module__].__file__ or "")
    with tempfile.TemporaryDirectory() as directory:
        job = f"{directory}/job"
        with open(job, "wb") as file:
            pickle.dump((source.stem, function.__name__, args), file)
        port = free_port()
        processes = []
        for rank in range(world_size):
            code = CHILD.format(
                paths=[str(ROOT), str(ROOT / "tests"), str(source.parent)], job=job, result=f"{directory}/{rank}"
            )
            environment = os.environ | {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world_size),
                "LOCAL_WORLD_SIZE": str(world_size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
                "DS_ACCELERATOR": "cpu",
            }
            command = [sys.executable, "-c", code]
            output = open(f"{directory}/{rank}.log", "w")  # noqa: SIM115
            processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT))
        try:
            codes = [process.wait(timeout) for process in processes]
        finally:
            for process in processes:
                process.kill()
        logs = "\n".join(
            Path(f"{directory}/{rank}.log").read_text()[-3000:] for rank in range(world_size) if codes[rank]
        )
        assert codes == [0] * world_size, f"exit codes {codes}\n{logs}"
        return [pickle.loads(Path(f"{directory}/{rank}").read_bytes()) for rank in range(world_size)]
