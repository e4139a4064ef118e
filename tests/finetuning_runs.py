"""Runs of fine-tuning that are interrupted and resumed, and how runs are compared."""

import json
import signal

import pytest
import torch
from safetensors.torch import load_file

from pipeline.finetune import finetune
from pipeline.jobs.finetuning.loop import Loop
from pipeline.runtime.signals import InterruptedRunError

TIMES = ("time", "samples_per_second", "tokens_per_second")


def metrics_of(run):
    """Return the metrics of a run without what depends on the clock."""
    read = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in TIMES} for line in read]


def interrupt_after(monkeypatch, steps):
    """Let a stop signal arrive when a number of steps is done."""
    train_step = Loop.train_step

    def interrupted(loop):
        train_step(loop)
        if loop.state.step == steps:
            loop.signals.received = signal.SIGTERM

    monkeypatch.setattr(Loop, "train_step", interrupted)


def run_twice(arguments, tmp_path, monkeypatch, steps):
    """Return the directories of an undisturbed run, and of one that was interrupted after some steps and resumed."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    finetune([*arguments, "--out", str(whole)])
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        with pytest.raises(InterruptedRunError):
            finetune([*arguments, "--out", str(resumed)])
    finetune([*arguments, "--out", str(resumed)])
    return whole, resumed


def assert_equal_runs(one, other):
    """Check that two runs have the same metrics and the same model."""
    assert metrics_of(one) == metrics_of(other)
    weights = [load_file(run / "model" / "model.safetensors") for run in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
