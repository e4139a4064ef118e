"""Medians, spread, best runs and GLUE's average of made-up results."""

import json
import math

from pipeline.jobs.finetuning.sweep_table import Outcome, best_of, summarise, to_json, to_markdown


def outcome(rate, seed, value, task="sst2", metric="accuracy", **others):
    """Return the end of a run; a value of None: it diverged."""
    directory = f"out/lr-{rate}-seed-{seed}"
    if value is None:
        return Outcome(task, rate, seed, directory)
    return Outcome(task, rate, seed, directory, metric, {"dev": {metric: value, **others}})


SST2 = [outcome(rate, seed, value) for rate, row in {1e-4: (0.9, 0.7, 0.8), 3e-4: (0.95, 0.6, None)}.items()
        for seed, value in enumerate(row, 1)]  # fmt: skip


def test_median_and_spread_by_rate():
    """A run that diverged counts as the worst one; the best run is the one with the largest metric."""
    low, high = summarise(SST2)
    assert (low.median, low.lowest, low.highest, low.runs, low.diverged) == (0.8, 0.7, 0.9, 3, 0)
    assert (high.median, high.lowest, high.highest, high.runs, high.diverged) == (0.6, -math.inf, 0.95, 3, 1)
    assert best_of(SST2)["sst2"].directory == "out/lr-0.0003-seed-1"


def test_the_first_of_equal_runs_is_the_best_and_an_undefined_one_never_is():
    """NaN, the correlation with a constant, is worse than any number."""
    runs = [outcome(1e-4, seed, value, "stsb", "pearson") for seed, value in enumerate((math.nan, -0.1, -0.1))]
    assert best_of(runs)["stsb"].seed == 1
    assert best_of(runs[:1]) == {}


def test_the_average_of_glue_takes_the_score_of_each_task():
    """The score is the mean of a task's metrics, of CoLA the correlation alone, and of MNLI that of both dev splits."""
    mnli = Outcome("mnli", 1e-4, 1, "out", "accuracy", {"dev": {"accuracy": 0.8}, "dev_mismatched": {"accuracy": 0.7}})
    runs = [
        outcome(1e-4, 1, 0.5, "cola", "matthews", accuracy=0.9),
        outcome(1e-4, 1, 0.7, "mrpc", "accuracy", f1=0.9),
        mnli,
        outcome(1e-4, 1, 0.55, "wnli"),
    ]
    values = to_json(runs)["glue"]
    assert {task: round(value, 6) for task, value in values["scores"].items()} == {
        "cola": 0.5,
        "mrpc": 0.8,
        "mnli": 0.75,
        "wnli": 0.55,
    }
    assert round(values["average"], 6) == 0.65
    text = to_markdown(runs, is_glue=True)
    assert "| average of 4 tasks | 65.0 |" in text and "| average without wnli | 68.3 |" in text
    assert "Tasks without a score: sst2, stsb, qqp, qnli, rte." in text


def test_the_score_of_a_task_is_that_of_its_best_rate():
    """The rate with the largest median counts; a rate of which a run diverged has no score."""
    assert to_json(SST2)["glue"]["scores"] == {"sst2": 0.8}


def test_tables_show_each_rate_and_json_has_no_infinity():
    """Undefined numbers are null in JSON and none in the table."""
    text = to_markdown(SST2, is_glue=False)
    assert "| sst2 | 0.0001 | 3 | 0 | accuracy | 0.8000 | 0.7000 | 0.9000 |" in text
    assert "| sst2 | 0.0003 | 3 | 1 | accuracy | 0.6000 | none | 0.9500 |" in text
    assert "| sst2 | out/lr-0.0003-seed-1 | dev accuracy 0.9500 |" in text and "GLUE" not in text
    assert json.loads(json.dumps(to_json(SST2), allow_nan=False))["rates"][1]["lowest"] is None
