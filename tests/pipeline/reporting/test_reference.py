"""Reference curves are written from runs, found by name and compared by step."""

import json
from dataclasses import asdict

import pytest

from pipeline.reporting.reference import CURVES, of_run, read, shipped, write
from pipeline.runlog.floors import Floors
from pipeline.runlog.reader import read_run
from pipeline.runtime.recipes import SHIPPED
from tests.made_runs import event, make_run, start

FLOORS = Floors(unigram=8.5, unigram_accuracy=0.2, context=7.5)
EVENTS = [
    start(0, processor="AMD EPYC (no bf16)"),
    event("floors", 0, **asdict(FLOORS), samples="abc", corpus="text"),
    event("finished", 40),
]


def finished(folder, events=EVENTS, name='name = "demo"\n'):
    run = make_run(folder, events=events)
    (run / "recipe.toml").write_text(name + (run / "recipe.toml").read_text())
    return read_run(run, "run")


def test_what_is_written_is_read(tmp_path):
    """A reference curve is read as it was written, with each evaluation and how it was obtained."""
    run = finished(tmp_path / "run")
    write([run], tmp_path / "new" / "demo.json")
    curve = read(tmp_path / "new" / "demo.json")
    assert curve == shipped("demo", tmp_path / "new") == of_run(run)
    assert (curve.recipe, curve.processor, curve.date) == ("demo", "AMD EPYC (no bf16), 8 ranks, bf16", "2023-11-14")
    assert (curve.corpus, curve.samples, curve.floors, curve.total_steps) == ("text", "abc", FLOORS, 40)
    assert [(point.step, point.loss, point.accuracy) for point in curve.heldout][:2] == [(0, 9.0, 0.0), (10, 8.0, 0.1)]


def test_losses_are_interpolated(tmp_path):
    """The loss is interpolated between evaluations, and undefined outside."""
    curve = of_run(finished(tmp_path / "run"))
    assert [curve.loss_at(step) for step in (0, 10, 40)] == [9.0, 8.0, 5.0]
    assert curve.loss_at(13) == pytest.approx(7.7)
    assert curve.loss_at(41) is None


def test_other_samples_move_the_curve_by_their_floor(tmp_path):
    """On other samples the curve is shifted by the difference of the floors; on the same samples it is not, and without
    floors there is no comparison.
    """
    curve = of_run(finished(tmp_path / "run"))
    assert curve.shift(Floors(9.0, 0.1, 8.0), "other") == 0.5
    assert curve.shift(None, "abc") == 0.0 and curve.shift(None, "other") is None


def test_recipes_without_a_curve(tmp_path):
    """The name of an unknown recipe, and a name that leads to another directory, have no curve."""
    (tmp_path / "curves").mkdir()
    (tmp_path / "outside.json").write_text("{}")
    for name in ("demo", "../outside", "", None, 7):
        assert shipped(name, tmp_path / "curves") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"floors": {}, "heldout": []}', '{"floors": 1, "heldout": 2}'])
def test_a_damaged_curve_is_named(tmp_path, text):
    """The error for a damaged curve names the file and states how to write a reference curve."""
    (tmp_path / "demo.json").write_text(text)
    with pytest.raises(ValueError, match=r"demo.json: not a reference curve .*; write one with"):
        read(tmp_path / "demo.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"events": EVENTS[:2]}, "has not finished; give a finished run"),
        ({"events": [EVENTS[0], EVENTS[2]]}, "has no floors or no name of its recipe"),
        ({"name": ""}, "has no floors or no name of its recipe"),
    ],
)
def test_runs_that_are_no_reference(tmp_path, options, message):
    """A run that has not finished, a run of an older version, and several runs at once are errors."""
    run = finished(tmp_path / "run", **options)
    with pytest.raises(ValueError, match=message):
        write([run], tmp_path / "demo.json")
    with pytest.raises(ValueError, match="2 are given; give one"):
        write([run, run], tmp_path / "demo.json")


def test_curves_that_come_with_the_package_belong_to_a_recipe():
    """Each curve of the package has the name of a recipe, and can be read."""
    for path in CURVES.glob("*.json"):
        assert read(path).recipe == path.stem and (SHIPPED / f"{path.stem}.toml").exists()
        assert json.loads(path.read_text())["heldout"], "it has evaluations"
