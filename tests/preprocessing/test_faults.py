"""Whatever ends a run of real processes, a rerun of the same command produces the bytes of an undisturbed run."""

import ctypes
import os
import re
import resource
import shutil
import signal
import subprocess
from contextlib import contextmanager
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

PR_CAPBSET_DROP, CAPABILITY_VERSION_3, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 0x20080522, 1, 2


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


@contextmanager
def obeying_permissions():
    """Within the block, deny this thread root's right to read and write what a mode forbids (capset(2))."""
    libc, header = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: of the first 32 capabilities, then of the rest
    assert libc.capget(header, held) == 0, "capabilities cannot be read"
    fewer = (ctypes.c_uint32 * 6)(held[0] & ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH), *held[1:])
    assert libc.capset(header, fewer) == 0, "capabilities cannot be given up"
    try:
        yield
    finally:
        assert libc.capset(header, held) == 0, "capabilities cannot be taken back"


@pytest.fixture
def finish_here(run_here):
    """A function that runs the command line in this process, bound by permissions; returns the exit status and the
    output.
    """
    return obeying_permissions()(run_here)


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


def relink(path, target):
    """Replace a file by a link."""
    path.unlink()
    path.symlink_to(target)


UNREADABLE = {
    "forbidden": (lambda path: path.chmod(0), "Permission denied"),
    "dangling link": (lambda path: relink(path, "nowhere"), "[Nn]o such file"),
    "failing read": (lambda path: relink(path, "/proc/self/mem"), "Input/output error"),
}
INPUT_NAMES = {"jsonl": "a.jsonl.gz", "text": "a.txt.gz", "file": "a.txt", "books": "a.epub", "parquet": "a.parquet"}
INPUT_NAMES |= {"arrow": "a.arrow", "wikipedia": "a.xml"}


@pytest.mark.parametrize("kind", INPUT_NAMES)
@pytest.mark.parametrize("fault", UNREADABLE)
def test_an_unreadable_file_is_named(tmp_path, finish_here, fault, kind):
    """For every kind of source, an unreadable file in a directory is an error that names it."""
    spoil, message = UNREADABLE[fault]
    path = tmp_path / "in" / INPUT_NAMES[kind]
    path.parent.mkdir()
    path.write_bytes(b"x")
    spoil(path)
    arguments = ["extract", "--sources", f"{kind}:{path.parent}", "--out", str(tmp_path / "out"), *SERIAL]
    status, text = finish_here(arguments)
    assert status == 1 and text.startswith("error: ") and str(path) in text and re.search(message, text), text
    assert not (tmp_path / "out" / "documents" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("pattern", "mode"), [("", 0), ("", 0o444), ("/**/*.txt", 0), ("/*/*.txt", 0o111), ("/sub/b.txt", 0)]
)
def test_an_unreadable_directory_is_named(tmp_path, finish_here, pattern, mode):
    """An unreadable directory below a source or on the way of a pattern is an error, and nothing is begun."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt"):
        (tmp_path / "in" / name).write_text("This is a text. It has two sentences.\n")
    (tmp_path / "in" / "sub").chmod(mode)
    arguments = ["extract", "--sources", f"file:{tmp_path / 'in'}{pattern}", "--out", str(tmp_path / "out"), *SERIAL]
    status, text = finish_here(arguments)
    assert status == 1 and text.startswith(f"error: {tmp_path / 'in' / 'sub'}") and text.count("\n") == 1, text
    assert "cannot be read (Permission denied); its content may be sound: correct permissions" in text
    assert not (tmp_path / "out").exists()


def test_an_unreadable_stage_is_not_verified_in_silence(reference, tmp_path, finish_here):
    """`verify` on the directory above an unreadable stage ends with an error."""
    shutil.copytree(reference[0].parent / "out", tmp_path / "out")
    (tmp_path / "out" / "samples32").chmod(0)
    status, text = finish_here(["verify", str(tmp_path / "out")])
    (tmp_path / "out" / "samples32").chmod(0o755)
    assert status == 1 and "Permission denied" in text and "samples32" in text and "Traceback" not in text, text


@pytest.fixture
def library(tmp_path):
    """A directory of 50 books, the seventh of which is not readable."""
    folder = tmp_path / "books"
    folder.mkdir()
    for number in range(50):
        (folder / f"{number:02d}.txt").write_text(f"This is book {number}. It was written by hand.\n")
    (folder / "06.txt").chmod(0)
    return folder


def extract(library, out, *options):
    """Return the arguments of the extraction of a library."""
    return ["extract", "--sources", f"books:{library}", "--out", str(out), *options, *SERIAL]


def obey_permissions():
    """Take root's rights from this process and those that it starts for good, since access(2) considers the rights that
    root could take.
    """
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def test_one_unreadable_book_of_fifty_is_counted_and_named(library, tmp_path):
    """The job continues without an unreadable book, which a rerun mentions; once it is readable, a rerun is an error,
    and nothing is changed.
    """
    out = tmp_path / "out"
    status, text = finish(extract(library, out), preexec_fn=obey_permissions)
    assert status == 0 and "49 documents read" in text and "1 of 50 records are bad" in text
    assert f"unreadable file: 1, first at\n    {library / '06.txt'}:1: Permission denied" in text
    made = content(out)
    status, text = finish(extract(library, out), preexec_fn=obey_permissions)
    assert status == 0 and f"made without 1 file(s) that could not be read, the first {library / '06.txt'}" in text
    (library / "06.txt").chmod(0o644)
    status, text = finish(extract(library, out), preexec_fn=obey_permissions)
    assert status == 1 and f'{library / "06.txt"} was "cannot be read: no permission"' in text
    assert content(out) == made


def test_too_many_unreadable_books_fail_and_are_read_once_put_right(library, tmp_path, finish_here):
    """Too many unreadable books are an error; once they are readable, the same command produces what an undisturbed run
    does.
    """
    (library / "08.txt").chmod(0)
    (library / "09.txt").unlink()
    (library / "09.txt").symlink_to("../nowhere")
    status, text = finish_here(extract(library, tmp_path / "out", "--split_mb", "0.0002"))
    assert status == 1 and text.startswith("error: 3 of 50 records are bad")
    assert all(str(library / name) in text for name in ("06.txt", "08.txt", "09.txt"))
    (library.parent / "nowhere").write_text("This book is back.\n")
    for name in ("06.txt", "08.txt"):
        (library / name).chmod(0o644)
    for out in ("out", "whole"):
        status, text = finish(extract(library, tmp_path / out, "--split_mb", "0.0002"))
        assert status == 0 and "50 documents read" in text
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("existing", [True, False])
def test_an_output_directory_without_write_permission_is_named(reference, tmp_path, finish_here, existing):
    """An output directory in which no file can be made is an error that names it."""
    corpus, _ = reference
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    out = folder if existing else folder / "out"
    status, text = finish_here(command(corpus, out, *SERIAL))
    assert status == 1 and f"error: [Errno 13] Permission denied: '{out}" in text and "Traceback" not in text
    assert not list(folder.iterdir())


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
