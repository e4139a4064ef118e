"""Laws of pipeline/reporting/attempts.py: the figure has a bar for each attempt, whatever its ending."""

import io
from itertools import chain

from PIL import Image

from pipeline.reporting.attempts import attempts_picture
from pipeline.runlog.attempts import history
from pipeline.runlog.reader import read_run
from tests.made_runs import BEGIN, event, make_run, saved, start


def pictures(directory, events, **run):
    made = read_run(make_run(directory, events=events, **run), "$run")
    return attempts_picture(made, history(made, BEGIN + 10), 0, 2)


def test_every_kind_of_event_and_end(tmp_path):
    """All kinds of events and endings are drawn, also if a clock was set back or an attempt has no length."""
    marks = [event(kind, 5) for kind in ("skipped_step", "broken_checkpoint", "checkpoint", "unheard_of")]
    ends = [event(kind, 6) for kind in ("interrupted", "failed", "finished")]
    events = [start(0), *marks, *chain.from_iterable((end, start(0)) for end in ends), start(0, 0), saved(3)]
    for number, beat in enumerate((None, {"time": BEGIN + 9, "step": 9, "state": "training"})):
        (one,) = pictures(tmp_path / str(number), events, heartbeat=beat)
        assert one.slug == "attempts-1" and Image.open(io.BytesIO(one.png)).width > 1500


def test_one_moment_and_many_attempts(tmp_path):
    """A single event is drawn, and the height of the figure is bounded for a hundred restarts."""
    assert len(pictures(tmp_path / "one", [event("failed", 0)])) == 1
    (many,) = pictures(tmp_path / "many", [start(0, 60 * number) for number in range(100)])
    assert Image.open(io.BytesIO(many.png)).height < 2700
    assert pictures(tmp_path / "none", None) == []
