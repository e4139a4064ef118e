"""Figures are drawn for all values that a run has, of any number and range."""

import io
import math
from dataclasses import asdict

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from pipeline.reporting.figures import CURVES, checkpoints, curves, save_curves
from pipeline.reporting.figures import _smoothed as smoothed
from pipeline.reporting.figures import _span as span
from pipeline.runlog.attempts import history
from pipeline.runlog.reader import read_runs
from pipeline.runlog.schedules import Schedule, write_schedules
from pipeline.runlog.terms import Term
from tests.made_runs import event, make_run, saved, start, training


@pytest.mark.parametrize("steps", [1, 300])
def test_all_groups(tmp_path, steps):
    """A run of one step and one of many, whose lines are smoothed, have the same pictures, which are small enough for a
    page; all figures are closed.
    """
    runs = read_runs([make_run(tmp_path / "one", steps), make_run(tmp_path / "other", 5)])
    pictures = [picture for group in CURVES for picture in curves(runs, group)]
    assert len({picture.slug for picture in pictures}) == len(pictures) == 11
    for picture in pictures:
        assert Image.open(io.BytesIO(picture.png)).size == (936, 594)
        assert len(picture.png) < 200_000
    assert plt.get_fignums() == []


def test_what_is_not_there_is_not_drawn(tmp_path):
    """A quantity that a run lacks, or that was never finite, has no picture; ranges over many decades are drawn."""
    values = {"mfu": None, "grad_norm": None, "loss": None, "learning_rate": 0.0}
    lines = [training(step) | values | {"tokens_per_second": 10.0**step} for step in (1, 2, 3, 4)]
    run = make_run(tmp_path / "run", 0, lines=lines)
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text().split("\n", 1)[1])
    runs = read_runs([run])
    assert [p.slug for p in curves(runs, "steps")] == ["learning-rate"]
    assert [p.slug for p in curves(runs, "speed")] == ["tokens-per-second", "loader-wait-share", "peak-memory-gib"]
    assert "loss" not in [p.slug for p in curves(runs, "loss")]


def test_terms_have_the_panels_and_units_that_they_need(tmp_path, monkeypatch):
    """A term without an accuracy has no panel for one, and a loss has the unit of its term."""
    terms = (Term("mlm", "masked-token", "masked"), Term("nsp", "state", "tokens", counted=False, unit="distance"))
    run = make_run(tmp_path / "run", 3, events=[start(0, terms=[asdict(term) for term in terms])])
    closed = []
    monkeypatch.setattr(plt, "close", closed.append)
    save_curves(read_runs([run]), tmp_path / "curves.png")
    monkeypatch.undo()
    plt.close(closed[0])
    losses = ["masked-token loss (nats)", "masked-token accuracy", "state loss (distance)"]
    drawn = [axis.get_title() for axis in closed[0].axes if axis.axison]
    assert drawn == [*losses, "learning rate", "tokens/s, all ranks"]


def test_schedules_are_drawn_over_the_whole_run(tmp_path):
    """The picture of the learning rate has the plan of the whole run, and every other recorded schedule
    has a picture.
    """
    path = make_run(tmp_path / "run", 5)
    (before,) = [picture for picture in curves(read_runs([path]), "steps") if picture.slug == "learning-rate"]
    rate = Schedule("learning_rate", "Learning rate", "", lambda step: 1e-3 * (1 - step / 1001))
    length = Schedule("sequence_length", "Sequence length", "tokens", lambda step: 128 if step < 900 else 512)
    write_schedules(path, 1000, [rate, length])
    runs = read_runs([path])
    after = {picture.slug: picture for picture in curves(runs, "steps")}
    assert after["sequence-length"].title == "Sequence length"
    assert after["learning-rate"].png != before.png
    assert "sequence-length" not in {picture.slug for group in ("loss", "speed") for picture in curves(runs, group)}


@pytest.mark.parametrize(("may_be_logarithmic", "scale"), [(True, "log"), (False, "linear")])
def test_a_cosine_schedule_has_a_linear_axis(may_be_logarithmic, scale):
    """A cosine that decays to zero spans many decades; as a noisy metric it would have a logarithmic axis."""
    figure, axes = plt.subplots()
    rates = [1 + math.cos(math.pi * step / 1000) for step in range(1000)]
    span(axes, rates, may_be_logarithmic)
    assert axes.get_yscale() == scale
    assert not next(curve for curve in CURVES["steps"] if curve.key == "learning_rate").noisy
    plt.close(figure)


def test_checkpoints(tmp_path):
    """Only runs with events of checkpoints have a picture of them, and negative seconds are not drawn."""
    told = [start(0), saved(10), saved(20) | {"seconds": -5.0, "stall_seconds": None}, event("checkpoint", 30)]
    runs = read_runs([make_run(tmp_path / "one", events=told), make_run(tmp_path / "other")])
    assert [p.slug for p in checkpoints(runs, [history(run) for run in runs])] == ["checkpoints"]
    assert checkpoints(runs[1:], [history(runs[1])]) == []


def test_smoothing():
    """Smoothing keeps a level line level, also at its ends, and does not change short lines."""
    import numpy as np

    assert smoothed(np.full(500, 3.0)) == pytest.approx(3.0)
    ramp = np.arange(500.0)
    assert smoothed(ramp)[250] == pytest.approx(250) and smoothed(ramp)[0] == pytest.approx(2.5)
    assert math.isclose(smoothed(ramp[:100])[7], 7)
