"""Calls of apex's kernels, checked with emulations that follow its CUDA sources; test_kernels.py runs apex itself on a
GPU.
"""

import importlib
import sys
import types

import pytest
import torch
from lamb_kernels import NUMBERS, PARTITION, expected, state

MODULE = "pipeline.kernels.lamb.apex"


def l2norm(chunk_size, noop, lists, per_tensor):
    norms = torch.stack([values.norm() for values in lists[0]])
    return norms.norm(), norms


def stage1(chunk_size, noop, lists, decay, step, beta1, beta2, eps, global_norm, max_norm):
    """Emulate csrc/multi_tensor_lamb_stage_1.cu, which reads the norm on the host and counts from `step` + 1."""
    assert global_norm.device.type == "cpu" and noop.dtype == torch.int32
    clip = global_norm.item() / max_norm if global_norm.item() > max_norm else 1.0
    correction1, correction2 = 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)
    for g, p, m, v, u, d in zip(*lists, decay, strict=True):
        scaled = g / clip
        m.copy_(m * beta1 + (1 - beta1) * scaled)
        v.copy_(v * beta2 + (1 - beta2) * scaled * scaled)
        u.copy_((m / correction1) / ((v / correction2).sqrt() + eps) + d * p)


def stage2(chunk_size, noop, lists, param_norms, update_norms, lr, weight_decay, use_nvlamb):
    """Emulate csrc/multi_tensor_lamb_stage_2.cu."""
    for p, u, p_norm, u_norm in zip(*lists, param_norms, update_norms, strict=True):
        rate = lr
        if use_nvlamb or weight_decay != 0:
            rate = lr * (p_norm / u_norm) if u_norm != 0 and p_norm != 0 else lr
        p.sub_(rate * u)


@pytest.fixture
def kernel(monkeypatch):
    """An `ApexKernel` that calls the emulated extension module."""
    fake = types.ModuleType("amp_C")
    fake.multi_tensor_l2norm = l2norm
    fake.multi_tensor_lamb_stage1_cuda = stage1
    fake.multi_tensor_lamb_stage2_cuda = stage2
    monkeypatch.setitem(sys.modules, "amp_C", fake)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    yield importlib.import_module(MODULE).ApexKernel()
    sys.modules.pop(MODULE, None)


def pieces(values):
    return torch.cat([values[start:stop] for _, start, stop in PARTITION.pieces]).double()


def test_both_stages_equal_the_equations(kernel):
    """Sums over the fragments of one tensor add up, each tensor gets its own ratio, and the model's copy is written."""
    tensors, (w, m, v, u, sums) = state("plain", model=torch.bfloat16), expected()
    ratios = torch.tensor([0.5, 2.0, 7.0, 1.5, 3.0, 1.0])
    torch.testing.assert_close(kernel.moments(tensors, PARTITION, NUMBERS), sums, rtol=1e-5, atol=0)
    kernel.apply(tensors, PARTITION, NUMBERS, ratios)
    for tensor, start, stop in PARTITION.pieces:
        w[start:stop] -= NUMBERS.lr * ratios[tensor].double() * u[start:stop]
    for ours, theirs in ((tensors.param, w), (tensors.exp_avg, m), (tensors.exp_avg_sq, v)):
        torch.testing.assert_close(pieces(ours), pieces(theirs), rtol=1e-6, atol=1e-6)
    assert torch.equal(pieces(tensors.model), pieces(tensors.param.bfloat16()))


def test_apex_clips_by_the_norm_that_it_is_told(kernel):
    """It divides by the norm: the moments are those of gradients that were multiplied before."""
    ours, theirs = state("plain"), state("plain")
    theirs.grad.mul_(0.3)
    kernel.moments(ours, PARTITION, NUMBERS._replace(grad_scale=0.3))
    kernel.moments(theirs, PARTITION, NUMBERS)
    for a, b in zip(ours[1:4], theirs[1:4], strict=True):
        torch.testing.assert_close(pieces(a), pieces(b), rtol=1e-6, atol=1e-6)


def test_adam_takes_no_ratio(kernel):
    """`adam` applies no ratio even where weight decay would make apex compute one."""
    tensors, (w, _, _, u, _) = state("plain"), expected()
    kernel.adam(tensors, PARTITION, NUMBERS)
    torch.testing.assert_close(pieces(tensors.param), pieces(w - NUMBERS.lr * u), rtol=1e-6, atol=1e-6)
