"""Planned schedules are recorded at evenly spaced steps, and damaged ones are skipped."""

import json

import pytest

from pipeline.runlog.schedules import MOST_POINTS, SCHEDULES, Planned, Schedule, read_schedules, write_schedules

SQUARE = Schedule("square", "Square", "m2", lambda step: float(step**2))


@pytest.mark.parametrize("total", [1, 2, MOST_POINTS, MOST_POINTS + 1, 7038])
def test_all_of_the_run_is_recorded(tmp_path, total):
    """First and last step are among at most MOST_POINTS recorded steps, and a short run has all of its steps."""
    write_schedules(tmp_path, total, [SQUARE])
    (found,) = read_schedules(tmp_path)
    assert (found.key, found.title, found.unit) == ("square", "Square", "m2")
    assert found.steps[0] == 1 and found.steps[-1] == total and len(set(found.steps)) == min(total, MOST_POINTS)
    assert found.values == [step**2 for step in found.steps]


@pytest.mark.parametrize("text", ["", "{", "null", "{}", "[1, null]", '[{"key": "x"}]'])
def test_damage_is_no_schedule(tmp_path, text):
    """A damaged file, and the missing file of an earlier version, contain no schedules."""
    assert read_schedules(tmp_path) == []
    (tmp_path / SCHEDULES).write_text(text)
    assert read_schedules(tmp_path) == []


@pytest.mark.parametrize(
    "change", [{"steps": [1]}, {"values": [1, "2"]}, {"values": [1, None]}, {"title": 3}, {"key": "../a"}]
)
def test_the_others_are_read(tmp_path, change):
    """A damaged schedule does not affect the others."""
    whole = {"key": "a", "title": "A", "unit": "", "steps": [1, 2], "values": [0.5, 1.0]}
    (tmp_path / SCHEDULES).write_text(json.dumps([whole | change, whole]))
    assert read_schedules(tmp_path) == [Planned(**whole)]
