"""A checkpoint is complete or absent, fits any partition, and its damage is reported."""

import json
import os
import shutil

import pytest
import torch
from fragments import ABOUT, make_shard, position
from samples import write_tokenizer

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.checkpoint import CheckpointConfig
from pipeline.checkpoints.record import DamagedError
from pipeline.checkpoints.saving import Saver
from pipeline.optim.shards import Fragment, Shard
from pipeline.runlog.events import Events
from preprocessing.files import write_json


def save(run, step, **config):
    """Write a whole checkpoint of one rank."""
    run.mkdir(exist_ok=True)
    events = Events(run, total_steps=9, step=step)
    saver = Saver(run, [make_shard(0, 1)], run.parent / "tokenizer", CheckpointConfig(**config), lambda: ABOUT, events)
    saver.begin(position(step))
    saver.finish()


@pytest.fixture
def run(tmp_path):
    """A run with two checkpoints and a tokenizer beside them."""
    write_tokenizer(tmp_path / "tokenizer", 20)
    for step in (1, 2):
        save(tmp_path / "run", step, keep=2)
    return tmp_path / "run"


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 16])
def test_any_partition_reads_its_elements(run, world_size):
    """Weights, moments and step are read into the fragments of any partition, and padding is not changed."""
    directory = checkpoint.resolve(run)
    for rank in range(world_size):
        expected, shard = make_shard(rank, world_size), make_shard(rank, world_size)
        shard.flat.mul_(0)
        shard.state.clear()
        checkpoint.load_shards(directory, [shard])
        for _, start, stop, _ in shard.fragments:
            assert torch.equal(shard.flat[start:stop], expected.flat[start:stop])
            assert torch.equal(shard.state["exp_avg"][start:stop], expected.flat[start:stop] + 100)
            assert torch.equal(shard.state["exp_avg_sq"][start:stop], expected.flat[start:stop] + 200)
        assert shard.state["step"] == 7


def test_reader_joins_pieces_of_several_files(run, tmp_path):
    """A tensor that is divided over the files of three ranks is read whole."""
    directory = checkpoint.resolve(run)
    names = [checkpoint.rank_file(rank) for rank in range(3)]
    for rank, name in enumerate(names):
        checkpoint.write_tensors(directory / name, dict(checkpoint.fragments([make_shard(rank, 3)])))
    files = {name: checkpoint.manifest_entry(directory / name) for name in ("state.json", *names)}
    write_json(directory / "manifest.json", {"format_version": 1, "files": files})
    tensors = dict(checkpoint.Reader(directory).tensors())
    assert torch.equal(tensors["a"], torch.arange(6.0).view(2, 3))
    assert torch.equal(tensors["c"], torch.arange(10.0, 15.0))


def test_a_file_that_no_manifest_lists_is_not_read(run):
    """An additional file beside the tensors, which the manifest does not list, changes nothing."""
    directory = checkpoint.resolve(run)
    shutil.copy(directory / "rank-00000.safetensors", directory / "rank-00001.safetensors")
    assert torch.equal(dict(checkpoint.Reader(directory).tensors())["a"], torch.arange(6.0).view(2, 3))


def test_newest_k_and_every_mth_are_kept(run):
    """Of steps 1 to 7, keep = 2 retains the last two, and keep_every = 3 also the third; the sixth counts for both."""
    for step in range(3, 8):
        save(run, step, keep=2, keep_every=3)
    assert [checkpoint.step_of(path) for path in checkpoint.complete(run)] == [7, 6, 3]


def test_what_a_killed_run_left_is_swept(run):
    """The incomplete checkpoint of a killed run is removed, and complete checkpoints are kept."""
    before = checkpoint.complete(run)
    checkpoint.temporary_of(before[0]).mkdir()
    checkpoint.sweep(run)
    assert sorted((run / "checkpoints").iterdir(), reverse=True) == before


@pytest.mark.parametrize(
    "name", [".step-00000009.tmp", "step-00000009.bak", "step-9", "step-0000000009", "damaged-step-00000009", "step-x"]
)
def test_only_exact_names_are_checkpoints(run, name):
    """A directory with another name is neither the newest checkpoint, nor does it count for `keep`."""
    newest = checkpoint.resolve(run)
    other = shutil.copytree(newest, newest.with_name(name))
    assert checkpoint.resolve(run) == newest
    save(run, 3, keep=2)
    assert [checkpoint.step_of(path) for path in checkpoint.complete(run)] == [3, 2]
    assert other.exists()


def test_a_checkpoint_without_manifest_is_a_damaged_one(run):
    """The newest checkpoint without a manifest is reported as damaged, and the one before it is not silently used
    instead.
    """
    newest = checkpoint.resolve(run)
    (newest / "manifest.json").unlink()
    assert checkpoint.present(run)[0] == checkpoint.resolve(run) == newest
    with pytest.raises(DamagedError, match=r"manifest.json: missing: the checkpoint is incomplete"):
        checkpoint.verify(newest)


def test_what_cannot_be_read_is_not_called_damaged(run, monkeypatch):
    """A file without read permission says nothing about its content, so the error does not advise to remove it."""
    directory = checkpoint.resolve(run)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(checkpoint, "sha256_file", refuse)
    with pytest.raises(OSError, match=r"cannot be read .Permission denied.; its content may be sound") as caught:
        checkpoint.verify(directory)
    assert "remove" not in str(caught.value)


def test_files_have_the_permissions_of_the_users_umask(tmp_path):
    """All files get the permissions of the user's umask, including weights, which safetensors makes private, and
    copies.
    """
    write_tokenizer(tmp_path / "tokenizer", 20)
    for path in (tmp_path / "tokenizer").iterdir():
        path.chmod(0o400)
    before = os.umask(0o027)
    try:
        save(tmp_path / "run", 1)
    finally:
        os.umask(before)
    files = [path for path in checkpoint.resolve(tmp_path / "run").rglob("*") if path.is_file()]
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o640"}
    assert any(path.suffix == ".safetensors" for path in files)


def test_a_fragment_that_is_none_of_the_models_is_damage(run):
    """Fragments of unknown tensors are damage; so are missing elements, even if the sizes of the fragments add up."""
    directory = checkpoint.resolve(run)
    file = directory / "rank-00000.safetensors"
    checkpoint.write_tensors(file, {"weight|a|7": torch.zeros(2)})
    with pytest.raises(DamagedError, match=r"weight.a.7 of shape \[2\] is no fragment"):
        checkpoint.Reader(directory)
    checkpoint.write_tensors(file, {"weight|a|0": torch.zeros(3), "weight|a|1": torch.zeros(3)})
    with pytest.raises(DamagedError, match="weight of a lacks elements 4 to 6"):
        checkpoint.Reader(directory).read("weight", "a", 0, 6)


def damage(directory, kind):
    file = directory / "rank-00000.safetensors"
    content = file.read_bytes()
    if kind == "cut short":
        file.write_bytes(content[:-9])
    elif kind == "flipped":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif kind == "missing":
        file.unlink()
    elif kind == "state":
        write_json(directory / "state.json", {})
        manifest = json.loads((directory / "manifest.json").read_text())
        manifest["files"]["state.json"] = checkpoint.manifest_entry(directory / "state.json")
        write_json(directory / "manifest.json", manifest)
    elif kind == "version":
        manifest = json.loads((directory / "manifest.json").read_text())
        (directory / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))
    elif kind == "escape":
        manifest = json.loads((directory / "manifest.json").read_text())
        manifest["files"]["../../etc/passwd"] = {"bytes": 1, "sha256": "0"}
        (directory / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut short", r"rank-00000.safetensors: \d+ bytes, \d+ were written: damaged; copy the checkpoint again"),
        ("flipped", "rank-00000.safetensors: sha256 differs"),
        ("missing", "rank-00000.safetensors: missing"),
        ("state", "state.json: step is missing"),
        ("version", "format_version = 99, this version reads 1"),
        ("escape", "leaves the directory"),
    ],
)
def test_damage_is_named(run, kind, message):
    """Each kind of damage is found before the checkpoint is used, with file, rule and remedy."""
    directory = checkpoint.resolve(run)
    checkpoint.verify(directory)
    damage(directory, kind)
    with pytest.raises(ValueError, match=message):
        checkpoint.verify(directory)


def test_another_model_is_refused_by_tensor(run):
    """A checkpoint of another model is refused with the tensor and both shapes."""
    shard = Shard(("a",), ((3, 3),), torch.zeros(9), [Fragment(0, 0, 9, 0)], decayed=True)
    with pytest.raises(ValueError, match=r"a has shape \[2, 3\] in the checkpoint and \[3, 3\] in this model"):
        checkpoint.load_shards(checkpoint.resolve(run), [shard])


def test_nothing_but_checkpoints_is_resolved(tmp_path):
    """A directory that is neither a run nor a checkpoint is an error that names it."""
    with pytest.raises(ValueError, match="neither a checkpoint nor a run"):
        checkpoint.resolve(tmp_path)


def test_failed_write_publishes_nothing(run, monkeypatch):
    """If the disk becomes full while tensors are written, no checkpoint is published and earlier ones are kept."""
    before = checkpoint.complete(run)

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save(run, 3, keep=2)
    assert checkpoint.complete(run) == before
