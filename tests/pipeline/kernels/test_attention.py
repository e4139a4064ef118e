"""Laws of pipeline/kernels/attention.py."""

import importlib.machinery
import sys
import types

import pytest
import torch
from attention_cases import EQUAL, RAGGED, cumulated, random_qkv, reference, with_gradient

from pipeline.kernels.attention import attention, backend
from pipeline.kernels.padded_attention import attend_padded, padded_layout


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


def test_dropout_under_autocast():
    """Under autocast the output is bf16 and the gradient of an fp32 input is fp32, and both are finite."""
    qkv = random_qkv(RAGGED, torch.float32).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = attention(qkv, cumulated(RAGGED), max(RAGGED), 0.1)
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16 and qkv.grad.dtype == torch.float32 and qkv.grad.isfinite().all()


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
