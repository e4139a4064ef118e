"""Whatever ends a run of real processes, a rerun of the same command produces the bytes of an undisturbed run."""

import os
import re
import resource
import shutil
import signal
import subprocess
from itertools import product
from pathlib import Path
from random import Random

import pytest
from jobs import (
    MPI,
    MPIRUN,
    PARALLEL,
    RANKS,
    SERIAL,
    command,
    content,
    finish,
    kill_all,
    members,
    start,
    stopped,
    wait_until,
    workers,
)

from preprocessing.__main__ import main
from preprocessing.faults import POINTS, VARIABLE, reach
from preprocessing.files import is_temporary, read_json


def published(out):
    """Return the files below a directory that are neither temporary nor records of progress."""
    paths = (Path(folder) / name for folder, _, names in os.walk(out) for name in names)
    return [path for path in paths if path.parent.name != "progress" and not is_temporary(path)]


def finished_parts(out):
    """Return inode and time of change of each part that a run has recorded as finished."""
    complete = [path for path in published(out) if (path.parent / "manifest.json").is_file()]
    recorded = [path.parents[1] / read_json(path)["path"] for path in out.glob("*/progress/[!.]*.json")]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in {*complete, *recorded}}


@pytest.fixture(scope="module")
def reference(tmp_path_factory, make_corpus):
    """A corpus, and the files of an undisturbed run on it."""
    folder = tmp_path_factory.mktemp("reference")
    corpus = make_corpus(folder)
    assert main(command(corpus, folder / "out", *SERIAL)) == 0
    return corpus, content(folder / "out")


STAGES = {"extract": "documents/", "tokenizer": "tokenizer/", "build": "samples32/"}
"""The directory that each stage writes, in the order of the stages."""


def last_part(files, out, folder):
    """Return the last file by name that a run still has to write into a folder, so that much is done before it."""
    names = [name for name in files if name.startswith(folder) and "/progress/" not in name]
    return max(name for name in names if not (out / name).exists() and not name.endswith("manifest.json"))


def assert_goes_on(reference, out, parts, options, launcher):
    """Assert that the same command ends the job, keeps these finished parts, and produces the
    undisturbed run's files.
    """
    corpus, files = reference
    status, text = finish(command(corpus, out, *options), launcher)
    assert status == 0, text
    assert parts.items() <= finished_parts(out).items(), "a finished part was made again"
    assert content(out) == files


def assert_redone(reference, out):
    """Assert that a serial run in this process ends the job and produces the undisturbed run's files."""
    corpus, files = reference
    assert main(command(corpus, out, *SERIAL)) == 0
    assert content(out) == files


def manifest(files, out, folder):
    """Return the file that makes a folder complete."""
    return f"{folder}manifest.json"


@pytest.mark.parametrize(
    ("options", "launcher", "targets", "points"),
    [
        pytest.param(PARALLEL, [], [last_part], ["written"], id="processes"),
        pytest.param(PARALLEL, [], [last_part, manifest], POINTS, marks=pytest.mark.slow, id="processes-all"),
        pytest.param(RANKS, MPI, [last_part, manifest], POINTS, marks=pytest.mark.slow, id="mpi-all"),
        pytest.param(SERIAL, [], [last_part, manifest], POINTS, marks=pytest.mark.slow, id="serial-all"),
    ],
)
def test_a_run_killed_in_any_stage_ends_as_the_undisturbed_one(reference, tmp_path, options, launcher, targets, points):
    """After SIGKILL of the run's processes just before or after a part of each stage, or its manifest, appears, the
    same command makes no finished part again, and leaves the same bytes and nothing else (law 6).
    """
    if launcher and not MPIRUN.exists():
        pytest.skip("mpirun is not installed")
    corpus, files = reference
    out, parts = tmp_path / "out", {}
    for folder, target, point in product(STAGES.values(), targets, points):
        fault = f"kill-group:{point}:{target(files, out, folder)}"
        status, text = finish(command(corpus, out, *options), launcher, fault=fault)
        assert status == -signal.SIGKILL or (launcher and status), f"{fault} did not happen: {text}"
        now = finished_parts(out)
        assert parts.items() <= now.items(), "a finished part was made again"
        parts = now
    assert_goes_on(reference, out, parts, options, launcher)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "launcher", "kills"), [(PARALLEL, [], 10), (RANKS, MPI, 4)], ids=["processes", "mpi"]
)
def test_a_run_killed_at_random_moments_ends_as_the_undisturbed_one(reference, tmp_path, options, launcher, kills):
    """After SIGKILL of all processes at random moments, the same command leaves the bytes of the undisturbed run (law
    6).
    """
    if launcher and not MPIRUN.exists():
        pytest.skip("mpirun is not installed")
    corpus, files = reference
    out, random, parts = tmp_path / "out", Random(kills), {}
    for number in range(kills):
        wanted = int(len(files) * (number + random.random()) / kills)
        run = start(command(corpus, out, *options), launcher)
        wait_until(lambda wanted=wanted: len(published(out)) >= wanted and (out / ".lock.tmp").exists(), run)
        kill_all(run)
        now = finished_parts(out)
        assert parts.items() <= now.items(), "a finished part was made again"
        parts = now
    assert_goes_on(reference, out, parts, options, launcher)


SPLIT = "documents/split-00003.arrow"
"""A part of the first stage, before and after which other parts are written."""


def test_a_worker_that_dies_ends_the_run(reference, tmp_path):
    """A worker that is killed, as by the kernel for lack of memory, ends the run with a clear error in bounded time,
    and a rerun resumes.
    """
    out = tmp_path / "out"
    status, text = finish(command(reference[0], out, *PARALLEL), fault=f"kill:written:{SPLIT}")
    assert status == 1
    assert "error: a worker process was killed, possibly by lack of memory" in text and "Traceback" not in text
    assert_redone(reference, out)


@pytest.mark.skipif(not MPIRUN.exists(), reason="mpirun is not installed")
def test_a_rank_that_dies_ends_the_job(reference, tmp_path):
    """If a rank dies, mpirun names it and ends the others, and a rerun resumes."""
    out = tmp_path / "out"
    status, text = finish(command(reference[0], out, *RANKS), MPI, fault=f"kill:written:{SPLIT}")
    assert status != 0 and re.search("signal 9", text)
    assert_redone(reference, out)


def test_workers_end_when_their_parent_is_killed(reference, tmp_path):
    """If the first process alone is killed, the workers end without writing any more."""
    out = tmp_path / "out"
    run = start(command(reference[0], out, *PARALLEL), fault=f"SIGSTOP:written:{SPLIT}")
    worker = stopped(run)
    assert worker in workers(run) and len(workers(run)) == 2
    run.kill()
    run.wait()
    os.kill(worker, signal.SIGCONT)
    wait_until(lambda: not members(run.pid))
    assert_redone(reference, out)


@pytest.fixture
def small_disk(tmp_path):
    """A function that sets the size of a separate file system."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def resize(size):
        kind = (
            ["-o", f"remount,size={size}"] if os.path.ismount(disk) else ["-t", "tmpfs", "-o", f"size={size}", "none"]
        )
        if subprocess.run(["mount", *kind, disk], capture_output=True).returncode:
            pytest.skip("no right to mount a file system")
        return disk

    yield resize
    if os.path.ismount(disk):
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(("size", "options"), [("100k", PARALLEL), ("400k", SERIAL)])
def test_a_full_disk_names_the_file_and_a_rerun_goes_on(reference, small_disk, finish_here, size, options):
    """A full disk during extraction or building is an error with the file, no file is incomplete, and with more space a
    rerun produces the same bytes.
    """
    corpus, files = reference
    disk = small_disk(size)
    out = disk / "out"
    for end, how in ((finish, options), (finish_here, SERIAL)):
        status, text = end(command(corpus, out, *how))
        assert status == 1 and "Traceback" not in text
        assert re.search(
            rf"error: {out}/\S+: No space left on device; free disk space and run the same command again", text
        )
        made = {name: data for name, data in content(out).items() if "progress" not in name}
        assert all(files[name] == data for name, data in made.items() if name.endswith(".arrow"))
    small_disk("100m")
    assert_redone(reference, out)


def test_a_limit_on_file_sizes_is_like_a_full_disk(reference, tmp_path):
    """A limit on file sizes, as batch systems set it with `ulimit -f`, gives the error of a full disk; the test needs
    no right to mount.
    """
    out = tmp_path / "out"
    limit = (8_000, 8_000)
    status, text = finish(
        command(reference[0], out, *SERIAL), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    )
    assert status == 1 and re.search(rf"error: {out}/documents/split-\d+\.arrow: File too large; free disk space", text)
    assert_redone(reference, out)


def test_an_unreadable_stage_is_not_verified_in_silence(reference, tmp_path, finish_here):
    """`verify` on the directory above an unreadable stage ends with an error."""
    shutil.copytree(reference[0].parent / "out", tmp_path / "out")
    (tmp_path / "out" / "samples32").chmod(0)
    status, text = finish_here(["verify", str(tmp_path / "out")])
    (tmp_path / "out" / "samples32").chmod(0o755)
    assert status == 1 and "Permission denied" in text and "samples32" in text and "Traceback" not in text, text


def test_an_input_that_changed_after_a_kill_is_refused(tmp_path, make_corpus, finish_here):
    """An input that changed after a kill is an error that names it, since the finished parts belong to the old file."""
    corpus, out = make_corpus(tmp_path), tmp_path / "out"
    fault = "kill-group:published:documents/progress/split-00003.json"
    assert finish(command(corpus, out, *PARALLEL), fault=fault)[0] == -signal.SIGKILL
    with corpus.open("a") as file:
        file.write('{"text": "One more. It came late."}\n')
    parts = finished_parts(out)
    assert parts
    status, text = finish_here(command(corpus, out, *SERIAL))
    assert status == 1 and f'input: {corpus} was "' in text and "Traceback" not in text
    assert finished_parts(out) == parts


def test_two_runs_do_not_work_in_one_directory(reference, tmp_path, finish_here):
    """A second run in the same directory fails at once and names the first, which continues; the lock file of a killed
    run blocks no run.
    """
    corpus, out = reference[0], tmp_path / "out"
    run = start(command(corpus, out, *PARALLEL), fault=f"SIGSTOP:written:{SPLIT}")
    stopped(run)
    status, text = finish_here(command(corpus, out, *SERIAL))
    assert status == 1 and f"error: {out}: another run works here, process {run.pid} on " in text
    assert kill_all(run) and (out / ".lock.tmp").exists()
    assert_redone(reference, out)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("kill:renamed:x", "no point is called 'renamed'; there are written, published"),
        ("burn:written:manifest.json", "no action is called 'burn'"),
    ],
)
def test_a_fault_that_does_not_exist_is_an_error(monkeypatch, tmp_path, fault, message):
    """A fault whose name is misspelt is an error, since the test that requests it would test nothing."""
    monkeypatch.setenv(VARIABLE, fault)
    with pytest.raises(ValueError, match=message):
        reach("written", tmp_path / "manifest.json")
