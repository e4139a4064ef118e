"""Laws of preprocessing/files.py."""

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from preprocessing.errors import DataError
from preprocessing.files import atomic_path, is_temporary, read_json, sha256_file, write_json, write_text

ROOT = Path(__file__).parents[2]


def test_content_appears_under_the_final_name_only_when_the_block_ends(tmp_path):
    """Until the block ends, the final name does not exist; afterwards it is the only file."""
    final = tmp_path / "a.bin"
    with atomic_path(final) as temporary:
        temporary.write_bytes(b"new")
        assert not final.exists()
        assert is_temporary(temporary) and temporary.parent == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert final.read_bytes() == b"new"


def test_an_error_leaves_the_old_content_and_no_temporary_file(tmp_path):
    """A block that raises changes nothing on disk."""
    final = tmp_path / "a.bin"
    final.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="stop"), atomic_path(final) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("stop")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert final.read_bytes() == b"old"


def test_a_killed_writer_leaves_no_final_file(tmp_path):
    """SIGKILL during writing leaves at most a file that `is_temporary` recognises."""
    program = (
        "import os, signal, sys; from pathlib import Path; from preprocessing.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as path:\n"
        "    path.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.bin")], cwd=ROOT)
    assert result.returncode == -signal.SIGKILL
    assert all(is_temporary(path) for path in tmp_path.iterdir())


def test_the_checksum_is_sha256(tmp_path):
    """`sha256_file` equals hashlib on the whole content."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc" * 1_000_000)
    assert sha256_file(path) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_equal_values_give_equal_bytes(tmp_path):
    """The bytes of a JSON file do not depend on the order in which keys were inserted, and its value is
    read as it was.
    """
    write_json(tmp_path / "a.json", {"x": 1, "y": [2, "é"]})
    write_json(tmp_path / "b.json", {"y": [2, "é"], "x": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"x": 1, "y": [2, "é"]}


@pytest.mark.parametrize(("text", "message"), [("{", "not valid JSON"), ("[1]", "holds a JSON list")])
def test_a_file_that_is_no_json_object_is_named(tmp_path, text, message):
    """A file that holds no JSON object is an error that names it and what is wrong with it."""
    write_text(tmp_path / "a.json", text)
    with pytest.raises(DataError, match=rf"a\.json: {message}"):
        read_json(tmp_path / "a.json")
