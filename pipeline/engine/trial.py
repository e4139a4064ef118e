"""Steps on trial: an engine trains, and everything that this changed is restored afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.engine.engine import Engine

_COUNTERS = ("global_steps", "global_samples", "micro_steps", "skipped_steps")
"""Attributes of DeepSpeed's engine that a step changes."""


@contextmanager
def on_trial(engine: Engine) -> Iterator[None]:
    """Run a block of whole steps, then restore weights, moments, loss scale, counters and torch's generator.

    All ranks call it together. The copy takes 12 bytes of host memory for each weight that this rank updates.
    DeepSpeed's monitors are off in the block. If the block raises an error, nothing is restored.
    """
    copies = [{name: values.cpu().clone() for name, values in shard.tensors.items()} for shard in engine.shards]
    updates = [shard.state.get("step") for shard in engine.shards]
    counters = {name: getattr(engine.deepspeed, name) for name in _COUNTERS}
    scaler, generator = engine.loss_scaler(), torch.get_rng_state()
    monitor = engine.deepspeed.monitor
    monitored, monitor.enabled = monitor.enabled, False
    yield
    for shard, copied, update in zip(engine.shards, copies, updates, strict=True):
        for name, values in shard.tensors.items():
            values.copy_(copied[name])
        if update is not None:
            shard.state["step"] = update
    engine.binding.push()
    for name, value in counters.items():
        setattr(engine.deepspeed, name, value)
    engine.load_loss_scaler(scaler)
    torch.set_rng_state(generator)
    monitor.enabled = monitored
