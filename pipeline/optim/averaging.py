"""The average of the weights over the last steps of a run.

Near the end of training the weights move around a minimum. Unless the learning rate decays to 0, their mean is closer
to it than the last weights (Izmailov et al. 2018, stochastic weight averaging; Hägele et al. 2024, section 4.2). The
average is uniform and in fp32. It is computed by elementwise operations whose rounding does not depend on the position
of an element, so that it does not depend on the partition.
"""

from collections.abc import Sequence

import torch

from pipeline.optim.shards import Shard

_CHUNK = 1 << 22
"""Elements that are processed at a time, which bounds the memory of temporaries."""


@torch.no_grad()
def add_to_average(shards: Sequence[Shard], count: int) -> None:
    """Add the weights to the averages: average += (weight - average) / count.

    Args:
        shards: all shards of this rank.
        count: number of steps in the average, including this one; 1 begins an average.

    Raises:
        ValueError: `count` is above 1, but there is no average of the previous steps.
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
    """Exchange the weights and their averages, in place."""
    for shard in shards:
        assert shard.average is not None, "swap needs an average; call add_to_average first"
        for average, weight in zip(shard.average.split(_CHUNK), shard.flat.split(_CHUNK), strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
