"""Laws of pipeline/kernels/rotary.py. tests/pipeline/families/test_modernbert.py compares it with transformers."""

import math

import torch

from pipeline.kernels.rotary import rotate, rotation

TOKENS, HEADS, HEAD_DIM, THETA = 9, 2, 6, 100.0
PLACES = torch.arange(TOKENS)


def drawn(dtype=torch.float32):
    return torch.randn(TOKENS, 3, HEADS, HEAD_DIM, generator=torch.Generator().manual_seed(0)).to(dtype)


def test_each_pair_of_features_is_rotated_by_its_angle():
    """Features k and k + D / 2 are the real and imaginary part of a number that is multiplied by e^(i m theta^(-2k/D));
    values are unchanged.
    """
    qkv = drawn()
    found = rotate(qkv, rotation(PLACES, HEAD_DIM, THETA))
    half = HEAD_DIM // 2
    for place in range(TOKENS):
        for feature in range(half):
            angle = place * THETA ** (-2 * feature / HEAD_DIM)
            number = torch.complex(qkv[place, :2, :, feature], qkv[place, :2, :, feature + half])
            turned = number * complex(math.cos(angle), math.sin(angle))
            torch.testing.assert_close(found[place, :2, :, feature], turned.real, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(found[place, :2, :, feature + half], turned.imag, rtol=1e-5, atol=1e-5)
    assert torch.equal(found[:, 2], qkv[:, 2])


def test_products_depend_on_the_distance_alone():
    """Queries and keys of the same contents have the same products at all positions with the same distance."""
    same = drawn()[:1].expand(TOKENS, -1, -1, -1)
    query, key, _ = rotate(same, rotation(PLACES + 1000, HEAD_DIM, THETA)).unbind(1)
    products = torch.einsum("ind,jnd->nij", query, key)
    for distance in range(-TOKENS + 1, TOKENS):
        diagonal = products.diagonal(distance, 1, 2)
        assert (diagonal - diagonal[:, :1]).abs().max() < 1e-3
    assert products.std() > 0.1


def test_the_gradient_is_rotated_back():
    """The gradient is that of separate operations, in the type of the input."""
    by = rotation(PLACES, HEAD_DIM, THETA)
    qkv, weights = drawn().requires_grad_(), torch.linspace(-1, 1, drawn().numel()).view_as(drawn())
    (found,) = torch.autograd.grad((rotate(qkv, by) * weights).sum(), qkv)
    first, second = qkv[:, :2].chunk(2, -1)
    cosine, sine = by.cosine[:, None, None], by.sine[:, None, None]
    separate = torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)
    (expected,) = torch.autograd.grad((torch.cat((separate, qkv[:, 2:]), 1) * weights).sum(), qkv)
    torch.testing.assert_close(found, expected)
    half = drawn(torch.bfloat16).requires_grad_()
    rotate(half, by).sum().backward()
    assert half.grad.dtype == torch.bfloat16
