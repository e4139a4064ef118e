"""The benchmarks of whole steps run, and their jobs reach the processes of the sides unchanged."""

import json
from dataclasses import asdict

import pytest

from benchmarks import engine_overhead, training
from benchmarks.step_sides import Job


def test_a_job_survives_its_way_to_a_process():
    """A side's process reads the job that was written for it."""
    job = Job("this", 8, ranks=2, recipe="albert_mini", samples="data/samples128")
    assert Job(**json.loads(json.dumps(asdict(job)))) == job


SMALL = {"sequences": 2, "length": 16, "rounds": 1, "steps": 1, "precision": "fp32"}


@pytest.mark.slow
def test_steps_are_timed_against_the_plain_engine(capsys):
    """Both engines take their turns, and the table has a ratio for each."""
    engine_overhead.main(**SMALL, masked=2, stages=[1], ranks=[1], cores=1)
    assert [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[2:]] == [
        "| plain, 1 rank",
        "| ZeRO-1, 1 rank",
    ]


@pytest.mark.slow
def test_steps_of_a_recipe_are_timed_against_transformers(capsys):
    """A family whose mask rate falls takes its turns beside the class of transformers."""
    training.main(**SMALL, recipe="albert_mini", sides=["stock", "this"], ranks=[1])
    assert [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[2:]] == ["| stock", "| this, 1 rank"]
