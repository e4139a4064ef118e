"""The command line keeps law 6 with real processes; test_bad_input.py has the errors."""

import os
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from session_directory import own_session_directory

from preprocessing.__main__ import main
from preprocessing.files import read_json, sha256_file, write_json

ROOT = Path(__file__).parents[2]
MPIRUN = Path(sys.executable).parent / "mpirun"
OPTIONS = ["--vocab_size", "200", "--max_seq_length", "32", "--split_mb", "0.02", "--partition_mb", "0.04"]
KILLED_AT = (
    "import os, signal, sys\n"
    "from preprocessing.__main__ import main\n"
    "replace, left = os.replace, [int(sys.argv[1])]\n"
    "def replace_or_die(source, target):\n"
    "    left[0] -= 1\n"
    "    if left[0] < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
    "    replace(source, target)\n"
    "os.replace = replace_or_die\n"
    "sys.exit(main(sys.argv[2:]))\n"
)
"""A program that runs the command line and kills itself just before its n-th file gets its final name."""


def command(corpus, out, *options):
    """Return the arguments of a small run."""
    return ["run", "--sources", f"jsonl:{corpus}", "--out", str(out), "--heldout_share", "0.1", *OPTIONS, *options]


def start(arguments, hash_seed="0", launcher=(), program=("-m", "preprocessing")):
    """Start the command line in a separate process."""
    environment = os.environ | own_session_directory()
    environment |= {
        "PYTHONHASHSEED": hash_seed,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    return subprocess.run(
        [*launcher, sys.executable, *program, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def content(out):
    """Return the content of every file below a directory."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory, make_corpus):
    """A corpus, and the files of a serial run on it."""
    folder = tmp_path_factory.mktemp("reference")
    corpus = make_corpus(folder)
    assert main(command(corpus, folder / "out", "--executor", "serial")) == 0
    files = content(folder / "out")
    assert len([name for name in files if name.startswith("documents/split")]) > 4
    assert len([name for name in files if name.startswith("samples32/train")]) > 2
    return corpus, files


@pytest.fixture
def finished(reference, tmp_path):
    """A copy of the files of the finished run on the corpus of `reference`."""
    return Path(shutil.copytree(reference[0].parent / "out", tmp_path / "out"))


@pytest.mark.parametrize("workers", [2, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 4))])
def test_output_is_byte_identical_for_any_number_of_workers(reference, tmp_path, workers):
    """Neither the number of processes nor hash seeds change a byte of any file (law 6)."""
    corpus, files = reference
    result = start(command(corpus, tmp_path / "out", "--workers", str(workers)), hash_seed=str(workers))
    assert result.returncode == 0, result.stderr
    assert content(tmp_path / "out") == files


@pytest.mark.skipif(not MPIRUN.exists(), reason="mpirun is not installed")
def test_output_is_byte_identical_under_mpi(reference, tmp_path):
    """Three MPI ranks write what one process writes (law 6)."""
    corpus, files = reference
    launcher = [MPIRUN, "--oversubscribe", "-n", "3"]
    result = start(command(corpus, tmp_path / "out", "--executor", "mpi"), "7", launcher)
    assert result.returncode == 0, result.stderr
    assert content(tmp_path / "out") == files


@pytest.mark.skipif(not MPIRUN.exists(), reason="mpirun is not installed")
def test_an_error_under_mpi_ends_every_rank(tmp_path):
    """The error of a worker is printed once, and every rank ends with status 1."""
    (tmp_path / "a.jsonl.gz").write_bytes(b"\x1f\x8b\x08 no gzip")
    launcher = [MPIRUN, "--oversubscribe", "-n", "3"]
    program = ("-c", "import sys; from preprocessing.__main__ import main; print('status', main(sys.argv[1:]))")
    result = start(command(tmp_path / "a.jsonl.gz", tmp_path / "out", "--executor", "mpi"), "0", launcher, program)
    assert result.stdout.count("status 1") == 3
    assert result.stderr.count("a.jsonl.gz: damaged gzip file") == 1


def test_mpi_without_mpirun_is_an_error(corpus, tmp_path):
    """MPI without mpirun, which gives one rank and no workers, is an error."""
    result = start(command(corpus, tmp_path / "out", "--executor", "mpi"))
    assert result.returncode == 1
    assert result.stderr.startswith("error: executor = mpi: needs at least 2 ranks, this job has 1")


def test_mpi_without_mpi4py_is_an_error(corpus, tmp_path, monkeypatch, capsys):
    """MPI without mpi4py, an extra of the package, is an error that states how to install it."""
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert main(command(corpus, tmp_path / "out", "--executor", "mpi")) == 1
    assert "error: executor is mpi, but mpi4py cannot be imported" in capsys.readouterr().err


@pytest.mark.parametrize(
    "files_written", [4, 20, 31, *(pytest.param(number, marks=pytest.mark.slow) for number in (0, 1, 16, 26, 36))]
)
def test_a_killed_run_is_continued(reference, tmp_path, files_written):
    """A run that is killed before its n-th file, in any stage, and run again leaves the same bytes and nothing else
    (law 6).
    """
    corpus, files = reference
    arguments = command(corpus, tmp_path / "out", "--executor", "serial")
    killed = start([str(files_written), *arguments], program=("-c", KILLED_AT))
    assert killed.returncode == -9, "the run ended before it was killed"
    assert main(arguments) == 0
    assert content(tmp_path / "out") == files


def test_a_damaged_part_of_a_killed_run_is_made_again(reference, tmp_path):
    """A part that was altered after the kill is made again."""
    corpus, files = reference
    arguments = command(corpus, tmp_path / "out", "--executor", "serial")
    start(["6", *arguments], program=("-c", KILLED_AT))
    split = tmp_path / "out" / "documents" / "split-00000.arrow"
    split.write_bytes(split.read_bytes()[::-1])
    assert main(arguments) == 0
    assert content(tmp_path / "out") == files


def test_a_second_run_does_nothing_and_another_length_only_builds(reference, finished):
    """A finished run is not changed by a second one, and phase 2 only adds its samples directory."""
    corpus, files = reference
    arguments = command(corpus, finished, "--executor", "serial")
    assert main(arguments) == 0
    assert main([*arguments, "--max_seq_length", "64"]) == 0
    after = content(finished)
    assert {name: data for name, data in after.items() if not name.startswith("samples64/")} == files
    assert any(name.startswith("samples64/train") for name in after)
    assert main([*arguments, "--segments", "full_sentences"]) == 0
    assert (finished / "samples32-full_sentences" / "manifest.json").is_file()
    assert main(["build", "--out", str(finished), "--max_seq_length", "16", "--executor", "serial"]) == 0


def test_inspect_and_verify_read_what_was_built(finished, tmp_path, capsys):
    """`inspect` shows samples, and `verify` accepts whole files and names a shard with a changed byte."""
    inspect = ["inspect", str(finished), "--samples", "1", "--executor", "serial"]
    assert main([*inspect, "--html", str(tmp_path / "page.html")]) == 0
    assert "B is random" in capsys.readouterr().out and (tmp_path / "page.html").is_file()
    assert main([*inspect, "--html", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: --html: {tmp_path}: is a directory")
    assert main([*inspect, "--samples", "-1"]) == 2
    assert "error: samples = -1" in capsys.readouterr().err
    assert main(["verify", str(finished)]) == 0
    assert "shards are whole" in capsys.readouterr().out
    shard = finished / "samples32" / "train-00001.arrow"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert main(["verify", str(finished / "samples32")]) == 1
    assert "train-00001.arrow: sha256" in capsys.readouterr().err
    assert main(["verify", str(tmp_path)]) == 1
    assert "holds no documents or samples directory" in capsys.readouterr().err


def test_another_configuration_is_refused(reference, finished, capsys):
    """Another configuration for a finished directory is an error with the option and both values."""
    assert main(command(reference[0], finished, "--executor", "serial", "--seed", "7")) == 1
    assert "samples32: was made with another configuration or input: seed was 12345, is 7" in capsys.readouterr().err


def test_documents_of_another_version_are_refused(finished, capsys):
    """Documents of another version are an error that names the manifest."""
    path = finished / "documents" / "manifest.json"
    write_json(path, read_json(path) | {"format_version": 99})
    shutil.rmtree(finished / "samples32")
    assert main(["build", "--out", str(finished), "--executor", "serial"]) == 1
    assert "manifest.json: format_version is 99" in capsys.readouterr().err


def test_help_explains_every_option(capsys):
    """The help has the description of each option."""
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Share of bad input records above which the job fails; if it is above 0, one" in text
    assert "jsonl:PATH (JSON Lines, or arrays of objects)" in text
    assert "Output directory of all stages of a corpus." in text


def test_download_fetches_what_a_server_has(tmp_path, capsys):
    """`download` fetches a file with status 0, gives the reason with status 1 if there is none, and status 2 for wrong
    options.
    """
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.txt").write_text("A good document.")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,)).start()
        url, out = f"http://127.0.0.1:{server.server_port}/a.txt", str(tmp_path / "out")
        digest = sha256_file(tmp_path / "served" / "a.txt")
        assert main(["download", "url", url, "--out", out, "--sha256", digest]) == 0
        assert content(tmp_path / "out") == {"a.txt": b"A good document."}
        assert main(["download", "url", url + "x", "--out", out]) == 1
        assert "a.txtx: the server answers 404" in capsys.readouterr().err
        assert main(["download", "url", url, "--out", out, "--connections", "9"]) == 2
        assert "error: connections = 9" in capsys.readouterr().err
        mirror = ["--mirror", url.removesuffix("/a.txt")]
        assert main(["download", "wikipedia", "--language", "en", "--out", out, *mirror]) == 1
        assert "/enwiki/: the server answers 404" in capsys.readouterr().err
        server.shutdown()
