"""Laws of preprocessing/stage_directory.py."""

import pytest

from preprocessing.errors import DataError
from preprocessing.files import sha256_file, write_json
from preprocessing.stage_directory import UNREADABLE_INPUT, complete_stage, finish_file, open_stage, stage_config

CONFIG = {"seed": 1, "sources": ("a", "b"), "nested": {"x": 1}}
INPUTS = {"a.txt": "10 bytes"}


def part(directory, content):
    """A function that writes a file and returns a record of it."""

    def make():
        path = directory / "part.bin"
        path.write_bytes(content)
        return {"path": "part.bin", "bytes": len(content), "sha256": sha256_file(path), "note": content.decode()}

    return make


def publish(directory):
    """Complete a stage."""
    complete_stage(directory, lambda: write_json(directory / "manifest.json", {}))


def test_a_stage_is_complete_after_its_manifest(tmp_path):
    """Opened again with the same configuration, a stage is unfinished until its manifest is written, and then complete
    without records of progress.
    """
    directory = tmp_path / "out" / "documents"
    assert not open_stage(directory, "extract", CONFIG, INPUTS)
    assert not open_stage(directory, "extract", CONFIG, INPUTS)
    finish_file(directory, "part", part(directory, b"one"))
    publish(directory)
    (directory / "progress").mkdir()  # As if the run had been killed just after its manifest.
    assert open_stage(directory, "extract", CONFIG, INPUTS)
    assert sorted(path.name for path in directory.iterdir()) == ["manifest.json", "part.bin", "stage.json"]
    assert stage_config(directory) == CONFIG | {"sources": ["a", "b"]}


def test_a_finished_part_is_not_made_again(tmp_path):
    """A finished part is not made again, and has the record of the first run."""
    open_stage(tmp_path, "extract", CONFIG, INPUTS)
    first = finish_file(tmp_path, "part", part(tmp_path, b"one"))
    assert finish_file(tmp_path, "part", part(tmp_path, b"two")) == first
    assert (tmp_path / "part.bin").read_bytes() == b"one"


@pytest.mark.parametrize("damage", [b"", b"onE", None])
def test_a_damaged_part_is_made_again(tmp_path, damage):
    """A part that was truncated, altered or removed is made again."""
    open_stage(tmp_path, "extract", CONFIG, INPUTS)
    finish_file(tmp_path, "part", part(tmp_path, b"one"))
    (tmp_path / "part.bin").unlink()
    if damage is not None:
        (tmp_path / "part.bin").write_bytes(damage)
    assert finish_file(tmp_path, "part", part(tmp_path, b"two"))["note"] == "two"


def test_another_configuration_is_refused_by_field(tmp_path):
    """Fields and inputs that differ are named with both values, and nothing is changed."""
    open_stage(tmp_path, "extract", CONFIG, INPUTS)
    with pytest.raises(DataError, match=r"x was 1, is null; y was null, is 3; seed was 1, is 2\. Give"):
        open_stage(tmp_path, "extract", CONFIG | {"seed": 2, "nested": {"y": 3}}, INPUTS)
    with pytest.raises(DataError, match=r'a\.txt was "10 bytes", is "11 bytes"'):
        open_stage(tmp_path, "extract", CONFIG, {"a.txt": "11 bytes"})
    with pytest.raises(DataError, match='stage was "extract", is "build"'):
        open_stage(tmp_path, "build", CONFIG, INPUTS)
    assert not open_stage(tmp_path, "extract", CONFIG, INPUTS)


def test_a_part_that_is_not_final_is_made_again(tmp_path):
    """A part that its record does not call final, such as one with an error that may be corrected since,
    is made again.
    """
    open_stage(tmp_path, "extract", CONFIG, INPUTS)
    finish_file(tmp_path, "part", part(tmp_path, b"one"))
    assert (
        finish_file(tmp_path, "part", part(tmp_path, b"two"), lambda record: record["note"] != "one")["note"] == "two"
    )
    assert (
        finish_file(tmp_path, "part", part(tmp_path, b"six"), lambda record: record["note"] != "one")["note"] == "two"
    )


BLOCKED = INPUTS | {"b.txt": f"{UNREADABLE_INPUT}: no permission"}


@pytest.mark.parametrize("now", [INPUTS | {"b.txt": "7 bytes"}, INPUTS], ids=["readable", "removed"])
def test_an_unfinished_stage_starts_again_with_an_input_that_was_put_right(tmp_path, now):
    """An unfinished stage whose unreadable input was corrected starts again without the parts of the earlier run."""
    open_stage(tmp_path, "extract", CONFIG, BLOCKED)
    finish_file(tmp_path, "part", part(tmp_path, b"one"))
    assert not open_stage(tmp_path, "extract", CONFIG, now)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["progress", "stage.json"]
    with pytest.raises(DataError, match=r"b\.txt was"):
        open_stage(tmp_path, "extract", CONFIG, BLOCKED)


def test_only_an_input_that_was_put_right_lets_a_stage_start_again(tmp_path):
    """Only an unfinished stage with no other change starts again after its input was corrected; others are errors."""
    open_stage(tmp_path, "extract", CONFIG, BLOCKED)
    now = INPUTS | {"b.txt": "7 bytes"}
    for config, inputs in ((CONFIG, now | {"a.txt": "11 bytes"}), (CONFIG | {"seed": 2}, now)):
        with pytest.raises(DataError, match="was made with another configuration or input"):
            open_stage(tmp_path, "extract", config, inputs)
    publish(tmp_path)
    with pytest.raises(DataError, match=r'b\.txt was "cannot be read: no permission", is "7 bytes"\. Give'):
        open_stage(tmp_path, "extract", CONFIG, now)
    assert open_stage(tmp_path, "extract", CONFIG, BLOCKED)


def test_a_directory_of_others_is_refused(tmp_path):
    """A directory with other content, and a file in place of the directory, are errors, and nothing is changed."""
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match=r"holds thesis\.tex, which this program did not make"):
        open_stage(tmp_path, "extract", CONFIG, INPUTS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(DataError, match="is a file, expected a directory"):
        open_stage(tmp_path / "thesis.tex", "extract", CONFIG, INPUTS)


def test_what_a_killed_run_left_is_cleared(tmp_path):
    """Temporary files of a killed run are removed, and do not block the directory."""
    (tmp_path / ".stage.json.0123abcd.tmp").write_text("{")
    assert not open_stage(tmp_path, "extract", CONFIG, INPUTS)
    (tmp_path / "progress" / ".part.json.0123abcd.tmp").write_text("{")
    assert not open_stage(tmp_path, "extract", CONFIG, INPUTS)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["progress", "stage.json"]
