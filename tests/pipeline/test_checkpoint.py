"""A checkpoint is complete or absent, says what is wrong with it, and fits any partition."""

import json
import shutil

import pytest
import torch
from samples import write_tokenizer

from pipeline import checkpoint
from pipeline.optim.shards import Fragment, Shard, fragments_of_partition

SIZES, SHAPES = [6, 4, 5], [(2, 3), (4,), (5,)]
NAMES = ("a", "b", "c")


def make_shard(rank, world_size, replicated=False):
    """Rank's part of three tensors holding 0..14, with moments 100 and 200 higher."""
    values = torch.arange(15.0)
    chunk = -(-15 // world_size)
    padded = torch.full((chunk * world_size,), torch.nan)
    padded[:15] = values
    flat = padded[rank * chunk : (rank + 1) * chunk].clone()
    fragments = fragments_of_partition(SIZES, [0, 6, 10], rank * chunk, chunk)
    shard = Shard(NAMES, tuple(SHAPES), flat, fragments, decayed=True, replicated=replicated)
    shard.state.update(exp_avg=flat + 100, exp_avg_sq=flat + 200, step=7)
    return shard


@pytest.fixture
def run(tmp_path):
    """A run with two checkpoints and, beside them, a tokenizer."""
    write_tokenizer(tmp_path / "tokenizer", 20)
    for step in (1, 2):
        checkpoint.save(tmp_path / "run", {"step": step}, [make_shard(0, 1)], tmp_path / "tokenizer", keep=2)
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
    (directory / "rank-00000.safetensors").unlink()
    for rank in range(3):
        checkpoint.write_fragments(directory / f"rank-{rank:05d}.safetensors", [make_shard(rank, 3)])
    tensors = dict(checkpoint.Reader(directory).tensors())
    assert torch.equal(tensors["a"], torch.arange(6.0).view(2, 3))
    assert torch.equal(tensors["c"], torch.arange(10.0, 15.0))


def test_newest_k_are_kept(run, tmp_path):
    """The third of keep=2 removes the first."""
    checkpoint.save(run, {"step": 3}, [make_shard(0, 1)], tmp_path / "tokenizer", keep=2)
    assert [path.name for path in checkpoint.complete(run)] == ["step-00000003", "step-00000002"]


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


def test_failed_write_publishes_nothing(run, tmp_path, monkeypatch):
    """A full disk while tensors are written leaves the checkpoints that were there."""
    before = checkpoint.complete(run)

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(run, {"step": 3}, [make_shard(0, 1)], tmp_path / "tokenizer", keep=2)
    assert checkpoint.complete(run) == before
