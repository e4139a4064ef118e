"""Floors and reference curves are drawn into the picture of the masked-token loss, and into no other."""

from dataclasses import asdict, replace

import matplotlib.pyplot as plt
import pytest

from pipeline.reporting import marks
from pipeline.reporting.figures import curves
from pipeline.reporting.reference import of_run
from pipeline.runlog.floors import Floors
from pipeline.runlog.reader import read_run
from tests.made_runs import event, make_run, start

FLOORS = Floors(unigram=8.5, unigram_accuracy=0.2, context=7.5)


def run_on(folder, samples, floors=FLOORS):
    events = [start(0), event("floors", 0, **asdict(floors), samples=samples), event("finished", 40)]
    gap = [event("heldout", step, mlm_order_gap=step / 40) for step in (0, 40)]
    directory = make_run(folder, events=events, lines=gap)
    (directory / "recipe.toml").write_text('name = "demo"\n' + (directory / "recipe.toml").read_text())
    return read_run(directory, "run")


def drawn(run, key):
    """Return the levels and curves that are drawn."""
    figure, axes = plt.subplots()
    marks.draw(axes, run, key, "red")
    plt.close(figure)
    return [list(line.get_ydata()) for line in axes.get_lines()]


@pytest.fixture
def reference(tmp_path, monkeypatch):
    curve = of_run(run_on(tmp_path / "reference", "abc"))
    monkeypatch.setattr(marks, "shipped", lambda name: curve if name == "demo" else None)


@pytest.mark.parametrize(
    ("samples", "moved", "said"), [("abc", 0.0, "The thin line"), ("other", 0.5, "shifted by the")]
)
def test_floors_and_reference(tmp_path, reference, samples, moved, said):
    """The picture has two levels and the reference curve, which is shifted by the difference of the floors if the
    samples differ; the caption explains this.
    """
    run = run_on(tmp_path / "run", samples, Floors(8.5 + moved, 0.2, 7.0))
    curve = [loss + moved for loss in (9, 8, 7, 6, 5)]
    assert drawn(run, "mlm_loss") == [[8.5 + moved] * 2, [7.0] * 2, curve]
    assert "unigram floor" in marks.caption([run], "mlm_loss") and said in marks.caption([run], "mlm_loss")
    assert drawn(run, "nsp_loss") == [] and marks.caption([run], "nsp_loss") == ""


def test_the_reference_has_the_length_of_the_run(tmp_path, reference):
    """The reference curve of a run of 40 steps reaches the end of one of 80, and the caption says so."""
    run = run_on(tmp_path / "run", "abc")
    assert marks.STRETCHED_CAPTION not in marks.caption([run], "mlm_loss")
    longer = replace(run, heartbeat={"total_steps": 80})
    figure, axes = plt.subplots()
    marks.draw(axes, longer, "mlm_loss", "red")
    plt.close(figure)
    assert list(axes.get_lines()[-1].get_xdata()) == [0, 20, 40, 60, 80]
    assert marks.STRETCHED_CAPTION in marks.caption([longer], "mlm_loss")


def test_a_run_without_floors_has_no_marks(tmp_path, reference):
    """A run of an older version, which has no floors, has no marks."""
    run = read_run(make_run(tmp_path / "run"), "run")
    assert drawn(run, "mlm_loss") == [] and marks.caption([run], "mlm_loss") == ""


def test_the_order_gap_has_a_picture(tmp_path, reference):
    """A run whose evaluations have an order gap has a picture of it."""
    run = run_on(tmp_path / "run", "abc")
    assert [picture.slug for picture in curves([run], "loss")] == ["loss", "mlm-loss", "nsp-loss", "mlm-order-gap"]
