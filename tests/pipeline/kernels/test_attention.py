"""Laws of pipeline/kernels/attention.py."""

import importlib.machinery
import sys
import types

import pytest
import torch

from pipeline.kernels.attention import attention, backend
from pipeline.kernels.dropout import keep_mask
from pipeline.kernels.padded_attention import _DroppedAttention, attend_padded, bucketed_layout, padded_layout

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


def bucketed(qkv, lengths):
    return attention(qkv, cumulated(lengths), max(lengths))


def padded(qkv, lengths):
    return attend_padded(qkv, padded_layout(cumulated(lengths), max(lengths), len(qkv)), 0.0)


@pytest.mark.parametrize("function", [bucketed, padded])
@pytest.mark.parametrize("lengths", [RAGGED, EQUAL, [1], [9, 2]])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5), (torch.bfloat16, 0.06)]
)
def test_output_and_gradient_equal_the_equation(function, lengths, dtype, tolerance):
    """Every backend that runs on this device computes the equation and its derivative, at ragged lengths too."""
    qkv = random_qkv(lengths, dtype)
    expected = with_gradient(lambda x: reference(x, lengths), qkv.double())
    for ours, theirs in zip(with_gradient(lambda x: function(x, lengths), qkv), expected, strict=True):
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def test_a_sequence_does_not_see_its_neighbours():
    """The values of other sequences, even NaN, do not affect a sequence."""
    qkv = random_qkv(RAGGED)
    bounds = cumulated(RAGGED)
    before = attention(qkv, bounds, max(RAGGED))
    changed = qkv.clone()
    changed[bounds[3] : bounds[4]] = float("nan")
    after = attention(changed, bounds, max(RAGGED))
    own = torch.ones(len(qkv), dtype=torch.bool)
    own[bounds[3] : bounds[4]] = False
    assert torch.equal(before[own], after[own])
    assert after[~own].isnan().all()


@pytest.mark.parametrize("lengths", [RAGGED, EQUAL])
def test_dropout_keeps_the_expectation_and_follows_the_seed(lengths):
    """The output averaged over masks is that without dropout, and the same seed gives the same output."""
    qkv, bounds = random_qkv(lengths, torch.float32), cumulated(lengths)
    torch.manual_seed(0)
    samples = torch.stack([attention(qkv, bounds, max(lengths), 0.1) for _ in range(300)])
    torch.manual_seed(0)
    assert torch.equal(attention(qkv, bounds, max(lengths), 0.1), samples[0])
    assert not torch.equal(samples[0], samples[1])
    standard_error = samples.std(0) / 300**0.5
    error = (samples.mean(0) - attention(qkv, bounds, max(lengths))).abs()
    assert (error <= 6 * standard_error + 1e-6).all()


@pytest.mark.parametrize("lengths", [RAGGED, EQUAL])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5), (torch.bfloat16, 0.06)]
)
def test_with_dropout_output_and_gradient_equal_separate_operations(monkeypatch, lengths, dtype, tolerance):
    """With the masks that were drawn, output and gradient are those of softmax, dropout and product as separate
    operations.
    """
    masks = []

    def recorded(x, probability):
        masks.append(keep_mask(x, probability))
        return masks[-1]

    monkeypatch.setattr("pipeline.kernels.padded_attention.keep_mask", recorded)
    ours = with_gradient(lambda x: attention(x, cumulated(lengths), max(lengths), 0.3), random_qkv(lengths, dtype))
    monkeypatch.setattr(_DroppedAttention, "apply", lambda *args: separate(*args, drawn.pop(0)))
    drawn = [keep.double() * scale for keep, scale in masks]
    exact = random_qkv(lengths, dtype).double()
    theirs = with_gradient(lambda x: attention(x, cumulated(lengths), max(lengths), 0.3), exact)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).abs().max() <= tolerance * other.abs().max()


def separate(query, key, value, mask, _, term, scale, scaled_keep):
    scores = query @ key.transpose(-1, -2) / HEAD_DIM**0.5
    scores = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
    return (scores.softmax(-1) * scaled_keep) @ value


def test_dropout_under_autocast():
    """Under autocast the output is bf16 and the gradient of an fp32 input is fp32, and both are finite."""
    qkv = random_qkv(RAGGED, torch.float32).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = attention(qkv, cumulated(RAGGED), max(RAGGED), 0.1)
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16 and qkv.grad.dtype == torch.float32 and qkv.grad.isfinite().all()


def test_a_layout_brings_every_token_back():
    """`scatter` is the inverse of `gather`, and its slots are the real ones, each once."""
    bounds = cumulated(RAGGED)
    for layout in (bucketed_layout(tuple(bounds.tolist())), padded_layout(bounds, 64, sum(RAGGED))):
        assert torch.equal(layout.gather[layout.scatter], torch.arange(sum(RAGGED)))
        real = torch.cat([bucket.real.flatten() for bucket in layout.buckets])
        assert torch.equal(layout.scatter.sort().values, torch.nonzero(real).flatten())


def test_buckets_pad_little():
    """Sequences share a bucket only if their lengths differ by less than 32 tokens, and sequences of one length are not
    copied.
    """
    layout = bucketed_layout(tuple(cumulated(RAGGED).tolist()))
    assert [tuple(bucket.real.shape) for bucket in layout.buckets] == [(3, 7), (4, 64)]
    equal = bucketed_layout(tuple(cumulated(EQUAL).tolist()))
    assert equal.gather is None and equal.scatter is None and not equal.buckets[0].padded


def test_a_layout_cached_in_an_evaluation_serves_training():
    """The cached indices are ordinary tensors even if they were first computed in inference mode."""
    lengths = [3, 50, 4]
    with torch.inference_mode():
        bucketed(random_qkv(lengths), lengths)
    with_gradient(lambda x: bucketed(x, lengths), random_qkv(lengths))


CUDA = torch.device("cuda")


def test_flash_attn_gets_what_it_needs(monkeypatch):
    """flash-attn is called with the packed tensor, the bounds and the probability."""
    calls = []

    def stand_in(qkv, cu_seqlens, max_seqlen, dropout_p=0.0, *, window_size=(-1, -1), deterministic=False):
        calls.append((max_seqlen, dropout_p, deterministic))
        return reference(qkv, cu_seqlens.diff().tolist())

    module = types.ModuleType("flash_attn")
    module.__spec__ = importlib.machinery.ModuleSpec("flash_attn", None)
    module.flash_attn_varlen_qkvpacked_func = stand_in
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    assert backend(CUDA, torch.bfloat16, 0.1, "flash_attn") == "flash_attn"
    monkeypatch.setattr("pipeline.kernels.attention.backend", lambda *_: "flash_attn")
    qkv = random_qkv(RAGGED)
    assert torch.equal(attention(qkv, cumulated(RAGGED), max(RAGGED), 0.1), reference(qkv, RAGGED))
    assert calls == [(max(RAGGED), 0.1, False)]


@pytest.mark.parametrize(
    ("device", "dtype", "dropout", "name", "without"),
    [
        ("cpu", torch.float32, 0.0, "bucketed", "bucketed"),
        ("cpu", torch.bfloat16, 0.1, "bucketed", "bucketed"),
        ("cuda", torch.bfloat16, 0.0, "triton", "varlen"),
        ("cuda", torch.float16, 0.0, "triton", "varlen"),
        ("cuda", torch.float32, 0.0, "triton", "padded"),
        ("cuda", torch.bfloat16, 0.1, "triton", "padded"),
    ],
)
def test_the_backend_of_a_gpu_repeats_itself(device, dtype, dropout, name, without):
    """A GPU uses Triton's kernels, whose backward pass is reproducible; without them it uses torch's or pads."""
    where = torch.device(device)
    assert backend(where, dtype, dropout) == name
    assert backend(where, dtype, dropout, kernels="plain") == backend(where, dtype, dropout, head_dim=256) == without


def test_a_named_backend_is_used_or_is_an_error(monkeypatch):
    """A named backend is never replaced by another one."""
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    for name in ("triton", "padded", "plain"):
        assert backend(CUDA, torch.bfloat16, 0.1, name) == name
    assert backend(CUDA, torch.bfloat16, 0.0, "varlen") == "varlen"
    for arguments, message in (
        ((CUDA, torch.bfloat16, 0.1, "varlen"), "varlen: has no dropout"),
        ((CUDA, torch.float32, 0.0, "varlen"), "varlen: must be .*float32 on cuda"),
        ((torch.device("cpu"), torch.bfloat16, 0.0, "flash_attn"), "flash_attn: must be .*bfloat16 on cpu"),
        ((CUDA, torch.bfloat16, 0.1, "flash_attn"), "flash_attn: .* must be installed"),
        ((CUDA, torch.bfloat16, 0.1, "triton", "auto", 256), "triton: .* at most 128"),
    ):
        with pytest.raises(ValueError, match=f"model.attention = {message}"):
            backend(*arguments)


def test_plain_and_triton_draw_the_same_masks():
    """After the same seed the two are equal up to rounding, dropout included."""
    lengths, found = [5, 18], []
    for name in ("plain", "triton"):
        torch.manual_seed(3)
        qkv = random_qkv(lengths, torch.float32)
        found.append(with_gradient(lambda x: attention(x, cumulated(lengths), 18, 0.4, name), qkv))  # noqa: B023
    for plain, fused in zip(*found, strict=True):
        assert (plain - fused).abs().max() <= 1e-5 * plain.abs().max()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="varlen_attn runs on CUDA only")
@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.bfloat16, "varlen"), (torch.float32, "padded"), (torch.bfloat16, "triton")]
)
def test_the_cuda_backends_equal_the_equation(dtype, name):
    """On a GPU, output and gradient equal the equation to the rounding of the type."""
    qkv, bounds = random_qkv(RAGGED, dtype), cumulated(RAGGED).cuda()
    expected = with_gradient(lambda x: reference(x, RAGGED), qkv.double())
    actual = with_gradient(lambda x: attention(x.cuda(), bounds, max(RAGGED), 0.0, name).cpu(), qkv)
    tolerance = 0.06 if dtype == torch.bfloat16 else 2e-5
    for ours, theirs in zip(actual, expected, strict=True):
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()
