"""Parameters in the layout of ZeRO on one rank: one flat buffer for each parameter group."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from pipeline.optim.shards import Shard, fragments_of_partition

ALIGN = 64
"""Alignment of the first element of a tensor, in elements: 256 bytes of fp32."""


def flat_shards(
    shapes: Mapping[str, Sequence[int]],
    decays: Callable[[str], bool],
    device: torch.device,
    muon: Callable[[str], bool] = lambda name: False,
) -> list[Shard]:
    """Two zeroed fp32 masters with gradients, one with weight decay and one without; with Muon, a third before them.

    Args:
        shapes: parameter name -> shape.
        decays: parameter name -> whether it takes weight decay.
        device: where they live.
        muon: parameter name -> whether Muon updates it.
    """
    shards = []
    for decayed, is_muons in ((True, True), (True, False), (False, False)):
        names = tuple(name for name in shapes if decays(name) == decayed and muon(name) == is_muons)
        if not names:
            continue
        sizes = [int(torch.Size(shapes[name]).numel()) for name in names]
        offsets = list(accumulate((-(-size // ALIGN) * ALIGN for size in sizes), initial=0))
        param = nn.Parameter(torch.zeros(offsets[-1], device=device))
        param.grad = torch.zeros_like(param)
        fragments = fragments_of_partition(sizes, offsets[:-1], 0, offsets[-1])
        whole = tuple(tuple(shapes[name]) for name in names)
        shards.append(Shard(names, whole, param, fragments, decayed, muon=is_muons))
    return shards


def tensors_of(shard: Shard, flat: Tensor) -> dict[str, Tensor]:
    """Views of `flat` (n,) in the shapes of the tensors by name, for a shard that holds whole tensors."""
    return {
        shard.names[tensor]: flat[start:stop].view(shard.shapes[tensor]) for tensor, start, stop, _ in shard.fragments
    }
