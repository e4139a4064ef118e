"""A checkpoint that is written beside training holds the state at its beginning, or is not published."""

import threading

import pytest
import torch
from fragments import ABOUT, make_shard, position
from samples import write_tokenizer

from pipeline.checkpoints import checkpoint, saving
from pipeline.checkpoints.checkpoint import CheckpointConfig
from pipeline.checkpoints.saving import Background, Saver
from pipeline.runlog.events import Events


@pytest.fixture
def shard():
    return make_shard(0, 1)


@pytest.fixture
def saver(tmp_path, shard):
    write_tokenizer(tmp_path / "tokenizer", 20)
    (tmp_path / "run").mkdir()
    events = Events(tmp_path / "run", total_steps=9, step=0)
    config = CheckpointConfig(keep=2)
    return Saver(tmp_path / "run", [shard], tmp_path / "tokenizer", config, lambda: ABOUT, events)


def test_an_update_after_settle_is_not_in_the_checkpoint(tmp_path, saver, shard, monkeypatch):
    """Even if copying is slow, `settle` waits for the copy, so later updates do not reach the checkpoint."""
    go_on, write_on = threading.Event(), threading.Event()
    clone, write = saving.Copies.finish, checkpoint.write_tensors
    monkeypatch.setattr(saving.Copies, "finish", lambda copies: go_on.wait(10) and clone(copies))
    monkeypatch.setattr(checkpoint, "write_tensors", lambda *args: write_on.wait(10) and write(*args))
    saver.begin(position(1))
    threading.Timer(0.2, go_on.set).start()
    saver.settle()
    shard.flat.zero_()
    assert saver.writing and saver.stall_seconds > 0.1
    write_on.set()
    saver.finish()
    assert not saver.writing
    assert torch.equal(
        dict(checkpoint.Reader(checkpoint.resolve(tmp_path / "run")).tensors())["b"], torch.arange(6.0, 10)
    )


def test_nothing_appears_before_it_is_published(tmp_path, saver):
    """A written checkpoint appears only after `publish`; beginning the next checkpoint publishes it, too."""
    saver.begin(position(1))
    while saver.writing:
        pass
    assert checkpoint.complete(tmp_path / "run") == []
    saver.begin(position(2))
    assert [checkpoint.step_of(path) for path in checkpoint.complete(tmp_path / "run")] == [1]
    saver.finish()
    assert [checkpoint.step_of(path) for path in checkpoint.complete(tmp_path / "run")] == [2, 1]
    assert checkpoint.read_state(checkpoint.resolve(tmp_path / "run"))["family"] == "bert"


@pytest.mark.parametrize("function", ["write_tensors", "publish"])
def test_an_error_in_the_background_is_seen_and_raised(tmp_path, saver, monkeypatch, function):
    """After an error of the disk, training goes on with `error` set, `finish` raises it, and no partial
    file is left.
    """

    def full(path, *_args):
        (path if path.suffix == ".safetensors" else path / "state.json").write_text("half of i")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, function, full)
    saver.begin(position(1))
    with pytest.raises(OSError, match="No space left"):
        saver.finish()
    assert isinstance(saver.error, OSError)
    assert [path for path in (tmp_path / "run" / "checkpoints").rglob("*") if path.is_file()] == []


def test_a_background_thread_keeps_the_error_of_its_last_run():
    """A new start of the background thread clears the error of the one before."""
    thread = Background()
    thread.start(lambda: 1 / 0)
    thread.join()
    assert isinstance(thread.error, ZeroDivisionError) and not thread.running
    thread.start(lambda: None)
    thread.join()
    assert thread.error is None
