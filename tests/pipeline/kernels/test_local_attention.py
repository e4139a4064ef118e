"""Laws of local attention, for every implementation that runs here. test_attention.py tests attention to all tokens."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.kernels.attention import attention
from pipeline.kernels.padded_attention import attend_padded, bucketed_layout, padded_layout

HEADS, HEAD_DIM = 2, 8
RAGGED = [5, 133, 1, 260, 96, 97]
"""Lengths that are one product, and lengths of several blocks."""


def cumulated(lengths):
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


def drawn(lengths, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(sum(lengths), 3, HEADS, HEAD_DIM, generator=generator, dtype=torch.float64).to(dtype)


def with_gradient(function, qkv):
    qkv = qkv.clone().requires_grad_()
    out = function(qkv)
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    return out.detach(), qkv.grad


def equation(qkv, lengths, window):
    """Compute the equation with scores of minus infinity beyond the window, one sequence at a time."""
    outputs = []
    for query, key, value in (part.permute(1, 2, 0, 3) for part in qkv.split(lengths)):
        places = torch.arange(query.shape[1])
        scores = query @ key.mT / HEAD_DIM**0.5
        scores[:, (places[:, None] - places).abs() > window] = -torch.inf
        outputs.append((scores.softmax(-1) @ value).transpose(0, 1))
    return torch.cat(outputs)


def padded(qkv, lengths, window, dropout_p=0.0):
    return attend_padded(qkv, padded_layout(cumulated(lengths), max(lengths), len(qkv)), dropout_p, window=window)


def chosen(wanted):
    def computed(qkv, lengths, window, dropout_p=0.0):
        return attention(qkv, cumulated(lengths), max(lengths), dropout_p, wanted, window=window)

    return computed


@pytest.mark.parametrize("window", [1, 40, 1000])
@pytest.mark.parametrize("function", [padded, chosen("auto"), chosen("plain")], ids=["padded", "bucketed", "plain"])
def test_local_attention_equals_the_equation(function, window):
    """Output and gradient are those of the equation, for windows smaller and larger than a block and the sequences."""
    expected = with_gradient(lambda x: equation(x, RAGGED, window), drawn(RAGGED))
    for ours, theirs in zip(with_gradient(lambda x: function(x, RAGGED, window), drawn(RAGGED)), expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-12 * theirs.abs().max()


def test_with_dropout_the_mean_is_that_without():
    """Dropout of local attention keeps the expectation, and its gradient is finite in blocks without a key."""
    lengths, torch_seed = [130, 7], 0
    qkv = drawn(lengths, torch.float32)
    torch.manual_seed(torch_seed)
    samples = torch.stack([chosen("auto")(qkv, lengths, 3, 0.2) for _ in range(200)])
    error = (samples.mean(0) - chosen("auto")(qkv, lengths, 3)).abs()
    assert (error <= 6 * samples.std(0) / 200**0.5 + 1e-6).all() and samples.std(0).max() > 0.1
    _, gradient = with_gradient(lambda x: padded(x, lengths, 3, 0.2), qkv)
    assert gradient.isfinite().all()


def test_operations_grow_with_the_number_of_tokens():
    """A sequence of twice as many tokens takes twice as many operations, and not four times as many."""
    counts = []
    for length in (1024, 2048):
        qkv = drawn([length], torch.float32)
        with FlopCounterMode(display=False) as counter:
            attend_padded(qkv, bucketed_layout((0, length)), 0.0, window=64)
        counts.append(counter.get_total_flops())
    assert counts[1] == 2 * counts[0] > 0
