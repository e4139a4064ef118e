"""Laws of pipeline/kernels/padded_attention.py; test_attention.py compares the backends with the equation."""

import pytest
import torch
from attention_cases import EQUAL, HEAD_DIM, RAGGED, cumulated, random_qkv, with_gradient

from pipeline.kernels.attention import attention
from pipeline.kernels.dropout import keep_mask
from pipeline.kernels.padded_attention import _DroppedAttention, bucketed_layout, padded_layout


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
        attention(random_qkv(lengths), cumulated(lengths), max(lengths))
    with_gradient(lambda x: attention(x, cumulated(lengths), max(lengths)), random_qkv(lengths))
