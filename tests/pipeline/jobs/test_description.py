"""Descriptions of a run, for its terminal, its events and its checkpoints."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipeline.config import parse
from pipeline.data.loader import BatchDivision
from pipeline.jobs.description import start_event_fields, startup_line, warn_of_space
from pipeline.runtime.processors import cpu_name
from pipeline.training.state import TrainState

DEMO = Path(__file__).parents[3] / "pipeline" / "recipes" / "demo.toml"
ENGINE = SimpleNamespace(
    precision="bf16",
    zero_stage=2,
    device=torch.device("cpu"),
    shards=[
        SimpleNamespace(shapes=[(1000, 500)], moments={"exp_avg": None}),
        SimpleNamespace(shapes=[(500_000,)], moments={"exp_avg": None, "exp_avg_sq": None}),
    ],
)


@pytest.mark.parametrize(
    ("step", "source", "begin"),
    [
        (0, None, "from the start"),
        (0, Path("other/step-1"), "from other/step-1"),
        (7, Path("x"), "continuing at step 7"),
    ],
)
def test_the_line_of_a_start(step, source, begin):
    """The line has size, precision, ranks, the division of the batch, and where training begins."""
    line = startup_line(parse(["--recipe", str(DEMO)]), ENGINE, BatchDivision(24, 4, 0, 2), TrainState(step), source)
    assert line == f"bert, 1.0 M parameters, bf16, ZeRO-2, 2 x cpu, global batch 24 = 2 x 4 x 3, {begin}"


def test_the_event_of_a_start(monkeypatch):
    """The event names the Slurm job and the checkpoint from which training begins."""
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    fields = start_event_fields(ENGINE, Path("other/step-1"))
    assert (fields["job"], fields["from"], fields["world_size"], fields["zero_stage"]) == ("42", "other/step-1", 1, 2)
    assert fields["processor"] == cpu_name()


@pytest.mark.parametrize(("free", "warns"), [(4 * 10e6 - 1, True), (4 * 10e6, False)])
def test_a_disk_that_is_too_small(tmp_path, monkeypatch, free, warns):
    """Half a million parameters with one moment and half a million with two take 10 MB in each of keep + 1 checkpoints.

    A directory holds one checkpoint more than `keep` while a new one is written.
    """
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    said = []
    recipe = parse(["--recipe", str(DEMO), "--checkpoint.keep", "3"])
    warn_of_space(tmp_path, recipe, ENGINE, SimpleNamespace(say=said.append))
    assert bool(said) is warns
    assert all("make room, or lower checkpoint.keep" in text for text in said)
