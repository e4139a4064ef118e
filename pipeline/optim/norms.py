"""Accurate sums of squares over many elements."""

from collections.abc import Sequence

import torch
from torch import Tensor

ROW = 1024
"""Elements whose squares are added in the tensor's own type; a multiple of every vector unit's width."""


def sum_of_squares(tensors: Sequence[Tensor]) -> Tensor:
    """Sum of the squares of all elements, added pairwise: rows in fp32, the rows' sums in float64.

    A CPU adds an fp32 tensor's squares in a handful of fp32 accumulators: at 31 million elements the norm is off by
    2e-3. To convert the tensor to float64 first takes ten times as long.

    Args:
        tensors: fp32, of any shapes, contiguous; at least one.

    Returns:
        A float64 scalar on their device, exact to about 1e-9.
    """
    short = [tensor for tensor in tensors if tensor.numel() <= ROW]
    norms = [torch.stack(torch._foreach_norm(short))] if short else []
    for tensor in tensors:
        if tensor.numel() > ROW:
            flat = tensor.detach().view(-1)
            rows = flat.numel() // ROW * ROW
            norms.append(torch.linalg.vector_norm(flat[:rows].view(-1, ROW), dim=1))
            norms.append(torch.linalg.vector_norm(flat[rows:]).view(1))
    return torch.cat(norms).double().square().sum()
