"""The average of the weights over the last steps of a run.

Near the end of training the weights move around a minimum, and their mean is closer to it than the last of them, unless
the learning rate falls to 0 (Izmailov et al. 2018, stochastic weight averaging; Hägele et al. 2024, section 4.2). The
average is uniform, fp32, and computed element by element with operations that round alike wherever an element lies, so
that it depends on the weights alone and not on their partition.
"""

from collections.abc import Sequence

import torch

from pipeline.optim.shards import Shard

_CHUNK = 1 << 22
"""Elements that are worked on at a time, which bounds the memory of temporaries."""


@torch.no_grad()
def add_to_average(shards: Sequence[Shard], count: int) -> None:
    """Add the weights to the averages: average += (weight - average) / count.

    Args:
        shards: all shards of this rank.
        count: number of steps in the average, with this one; 1 begins it.

    Raises:
        ValueError: `count` is above 1, but there is no average of the steps before.
    """
    for shard in shards:
        if count == 1:
            shard.average = shard.flat.clone()
            continue
        if shard.average is None:
            raise ValueError(
                f"schedule.average_last: {count - 1} of the steps to be averaged were trained without it; set it to 0, "
                "or start a new run with init_from"
            )
        for average, weight in zip(shard.average.split(_CHUNK), shard.flat.split(_CHUNK), strict=True):
            average += (weight - average).div_(count)


@torch.no_grad()
def swap(shards: Sequence[Shard]) -> None:
    """Exchange weights and averages."""
    for shard in shards:
        assert shard.average is not None, "the caller has averaged"
        for average, weight in zip(shard.average.split(_CHUNK), shard.flat.split(_CHUNK), strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
