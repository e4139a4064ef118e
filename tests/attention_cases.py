"""Random queries, keys and values of several sequences, and attention computed by its equation."""

import torch

HEADS, HEAD_DIM = 3, 8
RAGGED = [5, 33, 1, 64, 33, 7, 40]
EQUAL = [16, 16, 16]


def cumulated(lengths):
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


def random_qkv(lengths, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sum(lengths), 3, HEADS, HEAD_DIM, generator=generator, dtype=torch.float64).to(dtype)


def reference(qkv, lengths):
    """Compute the equation for one sequence and one head at a time."""
    outputs = []
    for query, key, value in (chunk.unbind(1) for chunk in qkv.split(lengths)):
        heads = [torch.softmax(query[:, h] @ key[:, h].T / HEAD_DIM**0.5, -1) @ value[:, h] for h in range(HEADS)]
        outputs.append(torch.stack(heads, 1))
    return torch.cat(outputs)


def with_gradient(function, qkv):
    """Return the output and the gradient of a fixed weighted sum of it."""
    qkv = qkv.clone().requires_grad_()
    out = function(qkv)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    (out * weights).sum().backward()
    return out.detach().double(), qkv.grad.double()
