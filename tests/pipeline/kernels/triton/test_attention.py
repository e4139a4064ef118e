"""Laws of pipeline/kernels/triton/attention.py. Its plain twin is tested in ../test_plain_attention.py."""

import pytest
import torch
import triton
import triton.language as tl

from pipeline.kernels import plain_attention
from pipeline.kernels.dropout import draw_seed
from pipeline.kernels.triton.attention import Tiling, Tilings, attend, tilings
from pipeline.kernels.triton.attention_kernels import kept_tile

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HEADS = 2
LENGTHS = [1, 20, 9]
TWO_PASSES = Tilings(Tiling(16, 16, 4, 1), Tiling(32, 16, 4, 1), Tiling(16, 16, 4, 1))
ONE_PASS = Tilings(Tiling(32, 16, 4, 1), Tiling(16, 16, 4, 1), Tiling(16, 32, 4, 1))
HALF = torch.bfloat16 if DEVICE == "cuda" else torch.float16  # the interpreter multiplies the bits of bf16


def bounds(lengths):
    return torch.tensor([0, *lengths], device=DEVICE).cumsum(0).to(torch.int32)


def drawn(lengths, head_dim, dtype):
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(sum(lengths), 3, HEADS, head_dim, generator=generator)
    return qkv.to(DEVICE, dtype).requires_grad_()


def with_gradients(function, *inputs):
    """Return the output and the gradients of a weighted sum of it, after the seed 7."""
    torch.manual_seed(7)
    out = function(*inputs)
    weights = torch.linspace(-1, 1, out.numel(), dtype=torch.float64, device=DEVICE).view_as(out)
    return out.detach(), *torch.autograd.grad((out * weights).sum(), inputs)


def plain(qkv, cu_seqlens, _, dropout_p, *term):
    """Compute the plain operation with a seed that is drawn as the kernel draws it."""
    seed = draw_seed(dropout_p, DEVICE)
    return plain_attention.attend(qkv, cu_seqlens, dropout_p, seed, *term)


@pytest.mark.parametrize(
    ("lengths", "head_dim", "dtype", "probability", "with_term", "shapes"),
    [
        (LENGTHS, 16, torch.float32, 0.3, True, TWO_PASSES),
        (LENGTHS, 16, torch.float32, 0.3, False, ONE_PASS),
        (LENGTHS, 16, torch.float32, 0.0, True, ONE_PASS),
        ([16], 24, torch.float32, 0.3, False, None),
        ([66, 5], 64, HALF, 0.1, False, None),
        ([18, 1], 128, HALF, 0.1, False, None),
    ],
)
def test_output_and_gradients_equal_float64(lengths, head_dim, dtype, probability, with_term, shapes):
    """Output and gradients equal float64 with the twin's masks, in one pass and in two, for one to several tiles."""
    inputs = [drawn(lengths, head_dim, dtype)]
    if with_term:
        generator = torch.Generator().manual_seed(1)
        term = torch.randn(HEADS, sum(n * n for n in lengths), generator=generator)
        inputs.append(term.to(DEVICE, dtype).requires_grad_())
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]

    def found_by(function, **options):
        return lambda qkv, *term: function(qkv, bounds(lengths), max(lengths), probability, *term, **options)

    found = with_gradients(found_by(attend, shapes=shapes), *inputs)
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    for ours, theirs in zip(found, with_gradients(found_by(plain), *exact), strict=True):
        assert ours.dtype == dtype
        assert (ours.double() - theirs).abs().max() <= tolerance * theirs.abs().max()


@pytest.mark.parametrize(
    ("lengths", "window", "probability", "shapes"),
    [([50, 1], 3, 0.3, TWO_PASSES), ([20, 30], 5, 0.3, ONE_PASS), ([60], 20, 0.0, TWO_PASSES)],
)
def test_local_attention_equals_float64(lengths, window, probability, shapes):
    """With a window, output and gradients equal float64 with the twin's masks, where whole tiles are left out and where
    a query is near no key of the first tile.
    """

    def found_by(function, **options):
        return lambda qkv: function(qkv, bounds(lengths), max(lengths), probability, window=window, **options)

    def plain_twin(qkv, cu_seqlens, _, dropout_p, window):
        return plain_attention.attend(qkv, cu_seqlens, dropout_p, draw_seed(dropout_p, DEVICE), window=window)

    inputs = drawn(lengths, 16, torch.float32)
    found = with_gradients(found_by(attend, shapes=shapes), inputs)
    exact = with_gradients(found_by(plain_twin), inputs.detach().double().requires_grad_())
    for ours, theirs in zip(found, exact, strict=True):
        assert (ours.double() - theirs).abs().max() <= 1e-5 * theirs.abs().max()


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
    """Masks in tiles of any size, with either axis first, equal those of the twin bit for bit."""
    seed = torch.tensor(-3 << 40, device=DEVICE)
    threshold, _ = plain_attention.lowest_kept(0.3)
    out = torch.empty(64, 64, dtype=torch.bool, device=DEVICE)
    mask_kernel[(1,)](seed, out, threshold, 64, *tile)
    assert torch.equal(out, plain_attention.kept(seed, 5, 2, 64, threshold)[1])


def test_a_run_repeats_bit_for_bit():
    """The same seed gives the same bits, the next call another mask."""
    arguments = (bounds([9]), 9, 0.3)
    first, again = (
        with_gradients(lambda x: attend(x, *arguments, shapes=ONE_PASS), drawn([9], 16, HALF)) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    with torch.no_grad():
        assert not torch.equal(first[0], attend(drawn([9], 16, HALF), *arguments, shapes=ONE_PASS))


def test_a_longer_bound_and_neighbours_change_no_bit():
    """Programs beyond the end of a sequence do nothing, and not-a-number stays within its sequence."""
    qkv = drawn([3, 9], 16, torch.float32).detach()
    spoilt = qkv.clone()
    spoilt[:3] = float("nan")
    runs = [
        with_gradients(lambda x: attend(x, bounds([3, 9]), bound, 0.0, shapes=TWO_PASSES), x.requires_grad_())  # noqa: B023
        for x, bound in ((qkv, 17), (spoilt, 33))
    ]
    for ours, theirs in zip(*runs, strict=True):
        assert torch.equal(ours[3:], theirs[3:]) and theirs[:3].isnan().all()


@pytest.mark.parametrize("shapes", [ONE_PASS, TWO_PASSES])
def test_rows_beyond_the_end_have_no_weight(shapes):
    """Rows beyond the end of a sequence have no weight, even if all of its scores are far below theirs, which are 0."""
    qkv = drawn([17], 16, torch.float32).detach()
    qkv[:, 0], qkv[:, 1] = -6, qkv[:, 1] + 6
    inputs = [qkv.requires_grad_(), qkv.detach().double().requires_grad_()]
    found = with_gradients(lambda x: attend(x, bounds([17]), 17, 0.0, shapes=shapes), inputs[0])
    for ours, theirs in zip(found, with_gradients(lambda x: plain(x, bounds([17]), 17, 0.0), inputs[1]), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-3, atol=1e-3)


def test_the_interpreter_rejects_bf16():
    """Its products of bf16 would be wrong."""
    if DEVICE == "cpu":
        with pytest.raises(ValueError, match="use fp16 or fp32"):
            attend(drawn([3], 16, torch.bfloat16), bounds([3]), 3, 0.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_sequences_of_phase_1_take_one_pass(dtype):
    """128 tokens are one tile of keys in 16-bit types, so that scores are computed once in the backward pass."""
    assert tilings(64, dtype).key_value_gradient.keys == 128
