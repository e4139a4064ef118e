"""Laws of pipeline/kernels/triton/attention.py. Its plain twin is tested in ../test_plain_attention.py."""

import pytest
import torch
import triton
import triton.language as tl

from pipeline.kernels import plain_attention
from pipeline.kernels.triton.attention import Tiling, Tilings, attend, tilings
from pipeline.kernels.triton.attention_kernels import kept_tile

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HEADS = 2
LENGTHS = [1, 40, 17]
TWO_PASSES = Tilings(Tiling(16, 32, 4, 1), Tiling(32, 16, 4, 1), Tiling(16, 32, 4, 1))
ONE_PASS = Tilings(Tiling(32, 16, 4, 1), Tiling(16, 16, 4, 1), Tiling(16, 64, 4, 1))
HALF = torch.bfloat16 if DEVICE == "cuda" else torch.float16  # the interpreter multiplies the bits of bf16


def bounds(lengths):
    return torch.tensor([0, *lengths], device=DEVICE).cumsum(0).to(torch.int32)


def drawn(lengths, head_dim, dtype):
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(sum(lengths), 3, HEADS, head_dim, generator=generator)
    return qkv.to(DEVICE, dtype).requires_grad_()


def with_gradient(function, qkv):
    """Output, and the gradient of a weighted sum of it, after the seed 7."""
    torch.manual_seed(7)
    out = function(qkv)
    weights = torch.linspace(-1, 1, out.numel(), dtype=torch.float64, device=DEVICE).view_as(out)
    (out * weights).sum().backward()
    return out.detach(), qkv.grad


def twin(lengths, probability):
    """The plain operation with a seed drawn as the kernel draws it."""

    def function(qkv):
        seed = torch.empty((), dtype=torch.int64, device=DEVICE).random_()
        return plain_attention.attend(qkv, bounds(lengths), probability, seed)

    return function


@pytest.mark.parametrize(
    ("lengths", "head_dim", "dtype", "probability", "shapes"),
    [
        (LENGTHS, 16, torch.float32, 0.0, TWO_PASSES),
        (LENGTHS, 16, torch.float32, 0.3, TWO_PASSES),
        (LENGTHS, 16, torch.float32, 0.0, ONE_PASS),
        (LENGTHS, 16, torch.float32, 0.3, ONE_PASS),
        ([16], 24, torch.float32, 0.3, None),
        ([130, 5], 64, HALF, 0.1, None),
    ],
)
def test_output_and_gradients_equal_float64(lengths, head_dim, dtype, probability, shapes):
    """With the masks of the twin, in one pass over the keys and in two, in sequences of one to several tiles."""
    qkv = drawn(lengths, head_dim, dtype)
    exact = qkv.detach().double().requires_grad_()
    found = with_gradient(lambda x: attend(x, bounds(lengths), max(lengths), probability, shapes), qkv)
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    for ours, theirs in zip(found, with_gradient(twin(lengths, probability), exact), strict=True):
        assert ours.dtype == dtype
        assert (ours.double() - theirs).abs().max() <= tolerance * theirs.abs().max()


@triton.jit
def mask_kernel(
    seed,
    out,
    threshold,
    length,
    QUERIES: tl.constexpr,  # noqa: N803
    KEYS: tl.constexpr,  # noqa: N803
    KEYS_FIRST: tl.constexpr,  # noqa: N803
):
    """Write the mask (length, length) of head 1 in sequence 5, tile by tile."""
    seed = tl.load(seed)
    for query in range(0, length, QUERIES):
        for key in range(0, length, KEYS):
            kept = kept_tile(seed, 5, 1, query, key, threshold, QUERIES, KEYS, KEYS_FIRST)
            at = query * length + key + tl.arange(0, QUERIES)[:, None] * length + tl.arange(0, KEYS)[None, :]
            if KEYS_FIRST:
                at = tl.trans(at)
            tl.store(out + at, kept)


@pytest.mark.parametrize("tile", [(16, 32, False), (64, 16, False), (32, 64, True), (64, 16, True)])
def test_masks_are_equal_in_any_tiles(tile):
    """Of any size and with either axis first, bit for bit those of the twin."""
    seed = torch.tensor(-3 << 40, device=DEVICE)
    threshold, _ = plain_attention.lowest_kept(0.3)
    out = torch.empty(64, 64, dtype=torch.bool, device=DEVICE)
    mask_kernel[(1,)](seed, out, threshold, 64, *tile)
    assert torch.equal(out, plain_attention.kept(seed, 5, 2, 64, threshold)[1])


def test_a_run_repeats_bit_for_bit():
    """The same seed gives the same bits, the next call another mask."""
    first, again = (
        with_gradient(lambda x: attend(x, bounds(LENGTHS), 40, 0.3, TWO_PASSES), drawn(LENGTHS, 16, HALF))
        for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    with torch.no_grad():
        other = attend(drawn(LENGTHS, 16, HALF), bounds(LENGTHS), 40, 0.3, TWO_PASSES)
    assert not torch.equal(first[0], other)


def test_a_longer_bound_and_neighbours_change_no_bit():
    """Programs beyond the end of a sequence do nothing, and not-a-number stays within its sequence."""
    qkv = drawn(LENGTHS, 16, torch.float32).detach()
    qkv[1:41] = float("nan")
    found = with_gradient(lambda x: attend(x, bounds(LENGTHS), 40, 0.0, TWO_PASSES), qkv.clone().requires_grad_())
    longer = with_gradient(lambda x: attend(x, bounds(LENGTHS), 100, 0.0, TWO_PASSES), qkv.clone().requires_grad_())
    for ours, theirs in zip(found, longer, strict=True):
        assert torch.equal(ours[41:], theirs[41:]) and ours[41:].isfinite().all() and ours[:1].isfinite().all()


@pytest.mark.parametrize(("head_dim", "dtype"), [(64, torch.bfloat16), (128, torch.float16), (16, torch.float32)])
def test_the_sequences_of_phase_1_take_one_pass_in_16_bits(head_dim, dtype):
    """128 tokens are one tile of keys there, so that scores are computed once in the backward pass."""
    assert (tilings(head_dim, dtype).key_value_gradient.keys >= 128) == (dtype != torch.float32)
