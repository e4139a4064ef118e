"""The JSON files of a checkpoint are validated when they are read: keys, types, ranges and names."""

import pytest
from fragments import ABOUT, position

from pipeline.checkpoints.record import (
    DamagedError,
    check_run_state,
    complete,
    name_of,
    present,
    read_manifest,
    read_state,
    step_in,
)
from preprocessing.files import read_json, write_json

ENTRY = {"bytes": 1, "sha256": "0"}


@pytest.fixture
def directory(tmp_path):
    """The JSON files of a checkpoint of step 2."""
    made = tmp_path / "checkpoints" / name_of(2)
    made.mkdir(parents=True)
    write_json(made / "state.json", ABOUT | position(2) | {"optimizer_step": 2, "tensors": {"a": [2, 3]}})
    write_json(made / "manifest.json", {"format_version": 1, "files": {"state.json": ENTRY, "a.safetensors": ENTRY}})
    return made


def rewrite(directory, name, **values):
    """Change a JSON file of a checkpoint; None removes a key."""
    content = read_json(directory / name) | values
    write_json(directory / name, {key: value for key, value in content.items() if value is not None})


def test_sound_files_are_read(directory):
    """The manifest gives its files by name, and the state is read as it was written."""
    assert read_manifest(directory).keys() == {"state.json", "a.safetensors"}
    assert read_state(directory) == check_run_state(directory, 9)
    assert read_state(directory)["consumed_samples"] == 8


def test_sums_of_an_earlier_version_have_their_present_names(directory):
    """Sums of an open interval that an earlier version saved are read under their present names."""
    rewrite(directory, "state.json", interval={"mlm_loss": 3.0, "pair_loss": 1.0, "pair_correct": 2.0, "seconds": 4.0})
    interval = read_state(directory)["interval"]
    assert interval == {"mlm_loss": 3.0, "nsp_loss": 1.0, "nsp_correct": 2.0, "seconds": 4.0}


@pytest.mark.parametrize("step", [0, 7, 99_999_999, 100_000_000])
def test_names_and_steps(step):
    """Each step has one name, and each name one step."""
    assert step_in(name_of(step)) == step
    assert step_in(f"step-{step:09d}") == (step if step >= 10**8 else None)
    assert step_in(f".{name_of(step)}.tmp") is None


def test_the_newest_come_first_and_the_incomplete_are_listed(directory):
    """Checkpoints are listed from the newest on, and a directory without a manifest counts as incomplete."""
    run = directory.parent.parent
    newer = directory.with_name(name_of(10))
    newer.mkdir()
    directory.with_name("step-3").mkdir()
    assert present(run) == [newer, directory] and complete(run) == [directory]
    assert present(run / "nowhere") == []


def test_a_missing_file_and_another_version(directory):
    """A missing file is damage; another version of the format is not, since another version can read it."""
    rewrite(directory, "manifest.json", format_version=99)
    with pytest.raises(ValueError, match="format_version = 99, this version reads 1") as caught:
        read_manifest(directory)
    assert not isinstance(caught.value, DamagedError)
    (directory / "state.json").unlink()
    with pytest.raises(DamagedError, match=r"state.json: missing: the checkpoint is incomplete"):
        read_state(directory)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("manifest.json", {"format_version": None}, "manifest.json: format_version is missing or no number"),
        ("manifest.json", {"files": [1]}, "manifest.json: files is missing or no object"),
        ("manifest.json", {"files": {"state.json": 3}}, "manifest.json: files.state.json holds no bytes and sha256"),
        ("manifest.json", {"files": {"../x": ENTRY}}, "file name '../x' leaves the directory"),
        ("manifest.json", {"files": {"state.json": ENTRY}}, "lists no state.json or no .safetensors"),
        ("state.json", {"step": None}, "state.json: step is missing"),
        ("state.json", {"step": -2}, "state.json: step = -2: must be an integer of at least 0"),
        ("state.json", {"step": True}, "state.json: step = True: must be an integer"),
        ("state.json", {"step": 1}, "state.json: step = 1, but the directory is named step-00000002"),
        ("state.json", {"tensors": {"a": 3}}, "state.json: tensors = .*: must be an object of shapes"),
        ("state.json", {"metrics": 5}, "state.json: metrics = 5: must be"),
        ("state.json", {"interval": {"tokens": None}}, "state.json: interval = .*: must be an object of numbers"),
    ],
)
def test_json_of_another_shape_is_damage(directory, name, values, message):
    """Valid JSON of another structure is damage, and the error names file and key."""
    rewrite(directory, name, **values)
    with pytest.raises(DamagedError, match=message):
        (read_state if name == "state.json" else read_manifest)(directory)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"recipe": {"schedule": {"total_steps": 1}}}, "step = 2, but the run has 1 steps"),
        ({"loss_scaler": None}, "loss_scaler is missing"),
        ({"loss_scaler": {"cur_scale": float("inf")}}, "loss_scaler holds what is no finite number"),
    ],
)
def test_a_position_that_the_run_cannot_have_is_damage(directory, values, message):
    """A position that does not fit the length of the run is damage."""
    rewrite(directory, "state.json", **values)
    read_state(directory)
    with pytest.raises(DamagedError, match=message):
        check_run_state(directory, values.get("recipe", {}).get("schedule", {}).get("total_steps", 9))
