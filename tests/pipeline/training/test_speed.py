"""The time of a step is measured with an engine that advances a clock."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from pipeline.training import speed
from pipeline.training.speed import MOST_STEPS, WARMUP_STEPS, seconds_per_step


class Engine:
    """An engine whose step takes 5 seconds while it is new, and then 2 seconds."""

    device = torch.device("cpu")

    def __init__(self):
        self.now, self.rates = 0.0, []

    def forward(self, batch):
        return SimpleNamespace(loss=batch)

    def backward(self, loss):
        """Do nothing, since there are no weights."""

    def step(self, rate):
        self.rates.append(rate)
        if len(self.rates) % 3 == 0:
            self.now += 5.0 if len(self.rates) <= 3 * WARMUP_STEPS else 2.0


@contextmanager
def nothing_to_restore(engine):
    yield


@pytest.fixture(autouse=True)
def _without_weights(monkeypatch):
    monkeypatch.setattr(speed, "on_trial", nothing_to_restore)


@pytest.mark.parametrize(("most_seconds", "measured"), [(0.0, 1), (5.0, 3), (1e9, MOST_STEPS)])
def test_the_mean_of_the_steps_after_the_warmup(most_seconds, measured):
    """After the warm-up, steps with learning rate 0 are measured until the time is up, at least one and at most
    MOST_STEPS.
    """
    engine, calls = Engine(), []
    batches = iter([torch.zeros(1)] * 3 * (WARMUP_STEPS + MOST_STEPS))
    found = seconds_per_step(engine, batches, 3, most_seconds, lambda: calls.append(None), lambda: engine.now)
    assert found == 2.0
    assert len(calls) == WARMUP_STEPS + measured and engine.rates == [0.0] * 3 * len(calls)


def test_an_error_of_a_batch_is_raised():
    """A damaged shard ends the measurement with the error that it would cause in a step."""

    def damaged():
        yield torch.zeros(1)
        raise ValueError("a shard is damaged")

    with pytest.raises(ValueError, match="a shard is damaged"):
        seconds_per_step(Engine(), damaged(), 3, 1.0, lambda: None)
