"""Laws of preprocessing/stage_directory.py."""

import pytest

from preprocessing.errors import DataError
from preprocessing.files import sha256_file, write_json
from preprocessing.stage_directory import UNREADABLE_INPUT, complete_stage, finish_file, open_stage, stage_config

CONFIG = {"seed": 1, "sources": ("a", "b"), "nested": {"x": 1}}
INPUTS = {"a.txt": "10 bytes"}


def part(directory, content):
    """A function that writes a file and says so."""

    def make():
        path = directory / "part.bin"
        path.write_bytes(content)
        return {"path": "part.bin", "bytes": len(content), "sha256": sha256_file(path), "note": content.decode()}

    return make


def publish(directory):
    """Completes a stage."""
    complete_stage(directory, lambda: write_json(directory / "manifest.json", {}))


def test_a_stage_is_complete_after_its_manifest(tmp_path):
    """Opening again with the same configuration finds it unfinished, then complete; no records are left over."""
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
    """The record of the first run comes back, and the file stays."""
    open_stage(tmp_path, "extract", CONFIG, INPUTS)
    first = finish_file(tmp_path, "part", part(tmp_path, b"one"))
    assert finish_file(tmp_path, "part", part(tmp_path, b"two")) == first
    assert (tmp_path / "part.bin").read_bytes() == b"one"


@pytest.mark.parametrize("damage", [b"", b"onE", None])
def test_a_damaged_part_is_made_again(tmp_path, damage):
    """A part that is cut short, altered or gone since is not trusted."""
    open_stage(tmp_path, "extract", CONFIG, INPUTS)
    finish_file(tmp_path, "part", part(tmp_path, b"one"))
    (tmp_path / "part.bin").unlink()
    if damage is not None:
        (tmp_path / "part.bin").write_bytes(damage)
    assert finish_file(tmp_path, "part", part(tmp_path, b"two"))["note"] == "two"


def test_another_configuration_is_refused_by_field(tmp_path):
    """The fields that differ are named with both values, inputs too, and nothing changes."""
    open_stage(tmp_path, "extract", CONFIG, INPUTS)
    with pytest.raises(DataError, match=r"x was 1, is null; y was null, is 3; seed was 1, is 2\. Give"):
        open_stage(tmp_path, "extract", CONFIG | {"seed": 2, "nested": {"y": 3}}, INPUTS)
    with pytest.raises(DataError, match=r'a\.txt was "10 bytes", is "11 bytes"'):
        open_stage(tmp_path, "extract", CONFIG, {"a.txt": "11 bytes"})
    with pytest.raises(DataError, match='stage was "extract", is "build"'):
        open_stage(tmp_path, "build", CONFIG, INPUTS)
    assert not open_stage(tmp_path, "extract", CONFIG, INPUTS)


def test_a_part_that_is_not_final_is_made_again(tmp_path):
    """As one with an error that may have been put right since."""
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
    """Nothing of the earlier run is kept; the directory is the new input's from then on."""
    open_stage(tmp_path, "extract", CONFIG, BLOCKED)
    finish_file(tmp_path, "part", part(tmp_path, b"one"))
    assert not open_stage(tmp_path, "extract", CONFIG, now)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["progress", "stage.json"]
    with pytest.raises(DataError, match=r"b\.txt was"):
        open_stage(tmp_path, "extract", CONFIG, BLOCKED)


def test_only_an_input_that_was_put_right_lets_a_stage_start_again(tmp_path):
    """A complete stage is refused by the input's name, as is another change beside, or another option."""
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
    """Foreign content is named and left alone; so is a file in place of the directory."""
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match=r"holds thesis\.tex, which this program did not make"):
        open_stage(tmp_path, "extract", CONFIG, INPUTS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(DataError, match="is a file, expected a directory"):
        open_stage(tmp_path / "thesis.tex", "extract", CONFIG, INPUTS)


def test_what_a_killed_run_left_is_cleared(tmp_path):
    """Temporary files of an earlier run neither block the directory nor stay."""
    (tmp_path / ".stage.json.0123abcd.tmp").write_text("{")
    assert not open_stage(tmp_path, "extract", CONFIG, INPUTS)
    (tmp_path / "progress" / ".part.json.0123abcd.tmp").write_text("{")
    assert not open_stage(tmp_path, "extract", CONFIG, INPUTS)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["progress", "stage.json"]
