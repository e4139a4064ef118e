"""Laws of pipeline/kernels/disentangled.py."""

import pytest
import torch
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from pipeline.kernels.disentangled import Buckets, attention
from pipeline.kernels.plain_attention import kept, lowest_kept

HEADS, WIDTH, LENGTHS = 2, 8, [5, 1, 40, 33]
BUCKETS = Buckets(16, 64)
BOUNDS = torch.tensor([0, *LENGTHS]).cumsum(0).to(torch.int32)
SEED = torch.tensor(11)


TOKENS = sum(LENGTHS)


def inputs(tokens=TOKENS):
    """Return queries, keys and values (T, 3, N, D) and a table of relative positions (R, 3, N, D)."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((tokens, 3, HEADS, WIDTH), (2 * BUCKETS.number, 3, HEADS, WIDTH))
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


def rows():
    return BUCKETS.rows(max(LENGTHS), torch.device("cpu"))


def by_the_equation(qkv, table, dropout_p=0.0):
    """Return the output (T, N, D), one score at a time."""
    threshold, scale = lowest_kept(dropout_p)
    outputs = []
    for number, part in enumerate(qkv.split(LENGTHS)):
        query, key, value = part.unbind(1)  # (L, N, D)
        distances = torch.arange(len(part))[:, None] - torch.arange(len(part))
        bucket = (BUCKETS.of(distances) + BUCKETS.number).clamp(0, 2 * BUCKETS.number - 1)  # (L, L)
        scores = torch.einsum("ind,jnd->nij", query, key)
        scores = scores + torch.einsum("ind,ijnd->nij", query, table[bucket, 1])
        scores = scores + torch.einsum("jnd,ijnd->nij", key, table[bucket, 0])
        weights = (scores / (3 * WIDTH) ** 0.5).softmax(-1)
        if dropout_p:
            weights = weights * kept(SEED, number, HEADS, len(part), threshold) * scale
        outputs.append(torch.einsum("nij,jnd->ind", weights, value))
    return torch.cat(outputs)


@pytest.mark.parametrize(("number", "longest"), [(256, 512), (32, 512), (16, 64), (256, 24)])
def test_buckets_equal_those_of_transformers(number, longest):
    """All distances up to the longest have the bucket that transformers gives them."""
    distances = torch.arange(1 - longest, longest)
    expected = make_log_bucket_position(distances, number, longest).long()
    assert torch.equal(Buckets(number, longest).of(distances), expected)
    indices = (expected + number).clamp(0, 2 * number - 1)
    assert torch.equal(Buckets(number, longest).rows(longest, torch.device("cpu"))[1:-1], indices)


@pytest.mark.parametrize("backend", ["auto", "padded", "plain"])
def test_output_and_gradients_equal_the_equation(backend):
    """Every backend computes the equation, for sequences of several lengths."""
    found, expected = inputs(), inputs()
    outputs = attention(*found, rows(), BOUNDS, max(LENGTHS), wanted=backend), by_the_equation(*expected)
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    for output in outputs:
        (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_dropout_is_that_of_the_seed():
    """With dropout, the masks of the backend `plain` are those of its seed."""
    found = attention(*inputs(), rows(), BOUNDS, max(LENGTHS), 0.3, "plain", seed=SEED)
    torch.testing.assert_close(found, by_the_equation(*inputs(), dropout_p=0.3), rtol=1e-4, atol=1e-5)


def test_dropout_on_a_cpu_has_the_gradients_of_its_masks():
    """The backward pass of the CPU's attention with dropout is the derivative of its forward pass."""
    arguments = rows(), BOUNDS, max(LENGTHS), 0.3

    def output(qkv, table):
        torch.manual_seed(3)
        return attention(qkv, table, *arguments).double().square().sum()

    qkv, table = inputs()
    output(qkv, table).backward()
    direction = torch.randn(table.shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        slope = (output(qkv, table + 1e-2 * direction) - output(qkv, table - 1e-2 * direction)) / 2e-2
    assert float((table.grad * direction).sum()) == pytest.approx(float(slope), rel=2e-2)


def test_the_kernels_of_triton_compute_the_same(monkeypatch):
    """Triton's attention, in its interpreter, has the outputs and gradients of the backend `plain` with its masks."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    bounds = torch.tensor([0, 5, 6, 22], dtype=torch.int32)
    found, expected = inputs(22), inputs(22)
    outputs = [
        attention(*given, rows(), bounds, 16, 0.3, backend, seed=SEED)
        for given, backend in ((found, "triton"), (expected, "plain"))
    ]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    for output in outputs:
        output.square().sum().backward()
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)
