"""Tokens drawn from the softmax of a product, by numbers that are given.

A token is the first one whose cumulative probability exceeds a number in [0, 1). It has the distribution of a draw with
Gumbel noise, but needs one random number instead of one per word, so that the number can be a function of the sample
and of nothing else (law 1).

Shapes: R rows, H features, V words.
"""

import torch
from torch import Tensor

from pipeline.kernels import backends


@torch.no_grad()
def projected_samples(rows: Tensor, weight: Tensor, bias: Tensor, uniform: Tensor, max_bytes: int) -> Tensor:
    """Draw a word for each row from softmax(rows W^T + b).

    Args:
        rows: (R, H), R may be 0.
        weight, bias: (V, H) and (V,).
        uniform: (R,) in [0, 1).
        max_bytes: bound on the logits in fp32 that are in memory at a time, of one row at least.

    Returns:
        (R,) int64 in [0, V).
    """
    dtype = backends.compute_dtype(rows)
    wide = torch.promote_types(dtype, torch.float32)
    chunk_rows = max(1, max_bytes // (len(bias) * wide.itemsize))
    drawn = []
    for chunk, numbers in zip(rows.split(chunk_rows), uniform.split(chunk_rows), strict=True):
        logits = torch.addmm(bias.to(dtype), chunk.to(dtype), weight.to(dtype).t())
        cumulative = logits.to(wide).softmax(1).cumsum(1)  # (r, V)
        reached = cumulative <= numbers[:, None].to(wide) * cumulative[:, -1:]  # rounding leaves the last one near 1
        drawn.append(reached.sum(1).clamp_(max=len(bias) - 1))
    return torch.cat(drawn)
