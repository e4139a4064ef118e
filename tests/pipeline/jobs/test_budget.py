"""A budget in minutes becomes a number of steps, which is the same for all attempts of a run."""

from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from ranks import on_ranks
from recipes import curve, tensors, write_recipe
from samples import make_samples

from pipeline.config import parse
from pipeline.jobs import budget
from pipeline.jobs.budget import steps_within, with_recorded_steps, with_total_steps
from pipeline.jobs.run_directory import open_run
from pipeline.jobs.samples import divide
from pipeline.runlog.event_text import event_text
from pipeline.runlog.reader import read_events, read_recipe
from preprocessing.shards import SampleDataset


class KilledError(Exception):
    """Raised in place of a SIGKILL between two steps."""


def runs(jobs):
    """Call pretrain for each (arguments, step after which the run is killed or None, measured seconds of a step)."""
    from pipeline.jobs import budget
    from pipeline.pretrain import pretrain
    from pipeline.runtime import distributed
    from pipeline.training.trainer import Trainer

    train_step, measured = Trainer.train_step, budget.seconds_per_step
    for arguments, kill_after, seconds in jobs:

        def dies(self, last=kill_after):
            outcome = train_step(self)
            if self.state.step == last:
                self.saver.finish()
                raise KilledError
            return outcome

        def known(engine, batches, accumulation, most_seconds, between, seconds=seconds):
            assert seconds, "a run that has measured its speed must not measure it again"
            measured(engine, batches, accumulation, most_seconds, between)
            return seconds

        Trainer.train_step, budget.seconds_per_step = dies, known
        with suppress(KilledError):
            pretrain(arguments)
    distributed.shutdown()


def test_a_measured_run_is_the_run_with_that_many_steps(tmp_path):
    """With 0.5 s per step and four evaluations of 40 samples and their order gap, 7.7 s allow 8 steps. The run, killed
    and resumed, equals a run with total_steps = 8 bit for bit: weights, moments and curves.
    """
    samples = make_samples(tmp_path / "samples", heldout=40)
    plain = write_recipe(tmp_path, samples, "plain", total_steps=8)
    budget = write_recipe(tmp_path, samples, "budget", total_steps=500)
    minutes = ["--schedule.minutes", str(7.7 / 60)]
    on_ranks(
        runs,
        2,
        [
            (["--recipe", str(plain)], None, None),
            (["--recipe", str(budget), *minutes], 6, 0.5),
            (["--recipe", str(budget), *minutes], None, None),
        ],
    )
    one, other = tensors(tmp_path / "plain", 8), tensors(tmp_path / "budget", 8)
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    for kind in ("train", "heldout"):
        assert curve(tmp_path / "plain", kind) == curve(tmp_path / "budget", kind)
    assert read_recipe(tmp_path / "budget")["schedule.total_steps"] == 8
    found = [event for event in read_events(tmp_path / "budget")[0] if event["kind"] == "budget"]
    assert [event_text(event) for event in found] == ["0.128333 minutes: 8 steps at 0.5 s each"]


def test_a_measurement_that_ends_early_has_the_average_mask_rate(tmp_path, monkeypatch):
    """Each measured step masks as many tokens as the steps of the run do on average, whatever their number."""
    samples = make_samples(tmp_path / "samples")
    options = ["--schedule.minutes", "1", "--masking.probability_start", "0.4", "--masking.max_predictions", "0"]
    recipe = parse(["--recipe", str(write_recipe(tmp_path, samples)), *options])
    open_run(with_total_steps(recipe, 0))
    train, heldout = (SampleDataset.open(samples, split) for split in ("train", "heldout"))
    rates = []

    def measured(engine, batches, accumulation, most_seconds, between):
        steps = [[next(batches) for _ in range(accumulation)] for _ in range(5)]
        rates.extend(step[0].totals["masked"] / step[0].totals["tokens"] for step in steps)
        return 1.0

    monkeypatch.setattr(budget, "seconds_per_step", measured)
    engine = SimpleNamespace(device=torch.device("cpu"))
    budget.measure(recipe, divide(recipe), [train], heldout, engine, supervisor=None)
    assert rates == pytest.approx([0.275] * 5, abs=0.01)


@pytest.mark.parametrize(
    ("minutes", "seconds", "evaluated", "every", "expected"),
    [(45, 2.0, 0.0, 0, 1350), (1, 1.0, 3.0, 10, 52), (1, 1.0, 3.0, 0, 60), (0.1, 0.7, 0.0, 0, 8)],
)
def test_steps_and_evaluations_end_within_the_time(minutes, seconds, evaluated, every, expected):
    """(60 - 2 evaluations of 1 s) / (1 s + 1 s / 10 steps) = 52 steps are allowed; one step more would not fit."""
    assert steps_within(minutes, seconds, evaluated, every) == expected
    evaluations = expected // every + 2 if every else 0
    assert expected * seconds + evaluations * evaluated * seconds / 3 <= 60 * minutes


def test_averaged_weights_take_one_evaluation_more():
    """With averaged weights, 57 s allow 51 steps of 1.1 s with their share of evaluations, and without them 52."""
    assert [steps_within(1, 1.0, 3.0, 10, averages=averages) for averages in (False, True)] == [52, 51]


def test_a_budget_for_less_than_a_step_is_an_error():
    """A budget for less than a step is an error with the time that a single step needs."""
    with pytest.raises(ValueError, match=r"schedule.minutes = 1: a step takes 90 s .* needs 1.5 minutes"):
        steps_within(1, 90.0, 0.0, 0)


def test_the_number_of_steps_is_that_of_the_runs_recipe(tmp_path):
    """The number of steps is 0 before the measurement and that of recipe.toml afterwards; another budget is another
    recipe.
    """
    path = write_recipe(tmp_path, tmp_path / "samples", total_steps=500)
    recipe = parse(["--recipe", str(path), "--schedule.minutes", "5"])
    assert with_recorded_steps(parse(["--recipe", str(path)])).schedule.total_steps == 500
    new = with_recorded_steps(recipe)
    assert new.schedule.total_steps == 0
    open_run(new)
    assert with_recorded_steps(recipe) == new, "killed before the measurement"
    open_run(new)
    measured = with_total_steps(recipe, 123)
    (tmp_path / "run" / "recipe.toml").unlink()
    (tmp_path / "run").rmdir()
    open_run(measured)
    assert with_recorded_steps(recipe) == measured
    with pytest.raises(ValueError, match=r"schedule.minutes: 5.0 -> 6.0"):
        open_run(with_recorded_steps(replace(recipe, schedule=replace(recipe.schedule, minutes=6.0))))
    with pytest.raises(ValueError, match=r"schedule.minutes: 5.0 -> 0.0"):
        open_run(with_recorded_steps(parse(["--recipe", str(path)])))
