"""Runs of `python -m preprocessing` in real processes, which tests disturb."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from session_directory import own_session_directory

from preprocessing.faults import VARIABLE

ROOT = Path(__file__).parents[1]
MPIRUN = Path(sys.executable).parent / "mpirun"
MPI = [str(MPIRUN), "--oversubscribe", "-n", "3"]
SIZES = ["--vocab_size", "300", "--max_seq_length", "32", "--split_mb", "0.01", "--partition_mb", "0.02"]
PARALLEL, SERIAL, RANKS = ["--workers", "2"], ["--executor", "serial"], ["--executor", "mpi"]
SECONDS_TO_END = 150
"""Seconds after which a run counts as hanging; it takes a few seconds, but the machine may be busy."""


def command(corpus, out, *options):
    """Return the arguments of a run on a corpus of about 25 splits and 12 partitions."""
    return ["run", "--sources", f"jsonl:{corpus}", "--out", str(out), "--heldout_share", "0.1", *SIZES, *options]


def start(arguments, launcher=(), fault="", **options):
    """Start the command line in a session of its own; `fault` is described in preprocessing/faults.py."""
    environment = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    environment |= own_session_directory() | ({VARIABLE: fault} if fault else {})
    whole = [*launcher, sys.executable, "-m", "preprocessing", *arguments]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(whole, cwd=ROOT, env=environment, start_new_session=True, **pipes, **options)


def finish(arguments, launcher=(), **options):
    """Run the command line to its end; return the exit status and its output."""
    run = start(arguments, launcher, **options)
    _, text = run.communicate(timeout=SECONDS_TO_END)
    wait_until(lambda: not members(run.pid))
    return run.returncode, text


def members(session, states="RSDTtI"):
    """Return the processes of a session that still run, or those in these states of ps(1)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(number) == session and state.strip() in states:
            found.append(int(path.parent.name))
    return found


def workers(run):
    """Return the worker processes of a run."""
    return [pid for pid in members(run.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def kill_all(run):
    """Kill every process of a run with SIGKILL, and return whether it was still running."""
    alive = run.poll() is None
    while pids := members(run.pid):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    run.communicate()
    return alive


def wait_until(condition, run=None):
    """Wait for a condition, or for the end of a run."""
    end = time.monotonic() + SECONDS_TO_END
    while not condition() and (run is None or run.poll() is None):
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


def stopped(run):
    """Return the process of a run that a fault has stopped."""
    wait_until(lambda: members(run.pid, "T"))
    return members(run.pid, "T")[0]


def content(out):
    """Return the content of every file below a directory."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
