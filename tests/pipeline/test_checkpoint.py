"""A checkpoint is complete or absent, says what is wrong with it, and fits any partition."""

import json
import shutil

import pytest
import torch
from fragments import make_shard
from samples import write_tokenizer

from pipeline import checkpoint
from pipeline.checkpoint import CheckpointConfig
from pipeline.events import Events
from pipeline.optim.shards import Fragment, Shard
from pipeline.saving import Saver
from preprocessing.files import write_json


def save(run, step, **config):
    """A whole checkpoint of one rank."""
    run.mkdir(exist_ok=True)
    events = Events(run, total_steps=9, step=step)
    saver = Saver(run, [make_shard(0, 1)], run.parent / "tokenizer", CheckpointConfig(**config), dict, events)
    saver.begin({"step": step})
    saver.finish()


@pytest.fixture
def run(tmp_path):
    """A run with two checkpoints and, beside them, a tokenizer."""
    write_tokenizer(tmp_path / "tokenizer", 20)
    for step in (1, 2):
        save(tmp_path / "run", step, keep=2)
    return tmp_path / "run"


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 16])
def test_any_partition_reads_its_elements(run, world_size):
    """Weights, moments and step arrive in each fragment; padding stays untouched."""
    directory = checkpoint.resolve(run)
    for rank in range(world_size):
        expected, shard = make_shard(rank, world_size), make_shard(rank, world_size)
        shard.flat.mul_(0)
        shard.state.clear()
        checkpoint.load(directory, [shard])
        for _, start, stop, _ in shard.fragments:
            assert torch.equal(shard.flat[start:stop], expected.flat[start:stop])
            assert torch.equal(shard.state["exp_avg"][start:stop], expected.flat[start:stop] + 100)
            assert torch.equal(shard.state["exp_avg_sq"][start:stop], expected.flat[start:stop] + 200)
        assert shard.state["step"] == 7


def test_reader_joins_pieces_of_several_files(run, tmp_path):
    """A tensor cut over three ranks' files comes back whole."""
    directory = checkpoint.resolve(run)
    names = [checkpoint.rank_file(rank) for rank in range(3)]
    for rank, name in enumerate(names):
        checkpoint.write_tensors(directory / name, dict(checkpoint.fragments([make_shard(rank, 3)])))
    write_json(directory / "manifest.json", {"files": dict.fromkeys(names)})
    tensors = dict(checkpoint.Reader(directory).tensors())
    assert torch.equal(tensors["a"], torch.arange(6.0).view(2, 3))
    assert torch.equal(tensors["c"], torch.arange(10.0, 15.0))


def test_a_file_that_no_manifest_lists_is_not_read(run):
    """What somebody left beside the tensors changes nothing."""
    directory = checkpoint.resolve(run)
    shutil.copy(directory / "rank-00000.safetensors", directory / "rank-00001.safetensors")
    assert torch.equal(dict(checkpoint.Reader(directory).tensors())["a"], torch.arange(6.0).view(2, 3))


def test_newest_k_and_every_mth_are_kept(run):
    """Of steps 1 to 7, keep=2 leaves the last two, and keep_every=3 the third; the sixth counts for both."""
    for step in range(3, 8):
        save(run, step, keep=2, keep_every=3)
    assert [checkpoint.step_of(path) for path in checkpoint.complete(run)] == [7, 6, 3]


def test_what_a_killed_run_left_is_swept(run):
    """Complete checkpoints stay."""
    before = checkpoint.complete(run)
    checkpoint.temporary_of(before[0]).mkdir()
    checkpoint.sweep(run)
    assert sorted((run / "checkpoints").iterdir(), reverse=True) == before


def test_unfinished_checkpoint_is_not_seen(run):
    """A directory without manifest, or under its temporary name, is no checkpoint."""
    newest = checkpoint.resolve(run)
    shutil.copytree(newest, newest.with_name(".step-00000009.tmp"))
    (shutil.copytree(newest, newest.with_name("step-00000009")) / "manifest.json").unlink()
    assert checkpoint.resolve(run) == newest


def damage(directory, kind):
    file = directory / "rank-00000.safetensors"
    content = file.read_bytes()
    if kind == "cut short":
        file.write_bytes(content[:-9])
    elif kind == "flipped":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif kind == "missing":
        file.unlink()
    elif kind == "version":
        manifest = json.loads((directory / "manifest.json").read_text())
        (directory / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))
    elif kind == "escape":
        manifest = json.loads((directory / "manifest.json").read_text())
        manifest["files"]["../../etc/passwd"] = {"bytes": 1, "sha256": ""}
        (directory / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut short", r"rank-00000.safetensors: \d+ bytes, \d+ were written; remove .*step-00000002"),
        ("flipped", "rank-00000.safetensors: sha256 differs"),
        ("missing", "rank-00000.safetensors: missing"),
        ("version", "format_version = 99, this version reads 1"),
        ("escape", "leaves the directory"),
    ],
)
def test_damage_is_named(run, kind, message):
    """Each kind of damage is found before use, with file, rule and remedy."""
    directory = checkpoint.resolve(run)
    checkpoint.verify(directory)
    damage(directory, kind)
    with pytest.raises(ValueError, match=message):
        checkpoint.verify(directory)


def test_another_model_is_refused_by_tensor(run):
    """A checkpoint of another shape names the tensor and both shapes."""
    shard = Shard(("a",), ((3, 3),), torch.zeros(9), [Fragment(0, 0, 9, 0)], decayed=True)
    with pytest.raises(ValueError, match=r"a has shape \[2, 3\] in the checkpoint and \[3, 3\] in this model"):
        checkpoint.load(checkpoint.resolve(run), [shard])


def test_nothing_but_checkpoints_is_resolved(tmp_path):
    """A directory that is neither run nor checkpoint is named."""
    with pytest.raises(ValueError, match="neither a checkpoint nor a run"):
        checkpoint.resolve(tmp_path)


def test_failed_write_publishes_nothing(run, monkeypatch):
    """A full disk while tensors are written leaves the checkpoints that were there."""
    before = checkpoint.complete(run)

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save(run, 3, keep=2)
    assert checkpoint.complete(run) == before
