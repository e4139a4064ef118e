"""Fragments of three small tensors on each rank, for tests of checkpoints."""

from typing import Any

import torch

from pipeline.optim.shards import Shard, fragments_of_partition

SIZES, SHAPES = [6, 4, 5], [(2, 3), (4,), (5,)]
NAMES = ("a", "b", "c")
ABOUT = {
    "family": "bert",
    "model": {},
    "vocab_size": 20,
    "samples": "0",
    "recipe": {"schedule": {"total_steps": 9}, "batch": {"global_batch_size": 4}},
    "loss_scaler": {},
}
"""Fields of a checkpoint beside its position."""


def position(step: int) -> dict[str, Any]:
    """Return what the checkpoint of a step states about the position of the run."""
    return {"step": step, "consumed_samples": 4 * step, "metrics": {}}


def make_shard(rank: int, world_size: int, replicated: bool = False, muon: bool = False) -> Shard:
    """Return a rank's part of three tensors with the values 0..14, and moments 100 and 200 higher; Muon has only the
    first.
    """
    values = torch.arange(15.0)
    chunk = -(-15 // world_size)
    padded = torch.full((chunk * world_size,), torch.nan)
    padded[:15] = values
    flat = padded[rank * chunk : (rank + 1) * chunk].clone()
    fragments = fragments_of_partition(SIZES, [0, 6, 10], rank * chunk, chunk)
    shard = Shard(NAMES, tuple(SHAPES), flat, fragments, decayed=True, replicated=replicated, muon=muon)
    shard.state.update({"exp_avg": flat + 100} | ({} if muon else {"exp_avg_sq": flat + 200}) | {"step": 7})
    return shard
