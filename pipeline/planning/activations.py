"""What autograd keeps from the forward pass of one micro-batch until the backward pass: the activations, in bytes.

Counted tensor by tensor from `pipeline.model`, `pipeline.kernels` and `pipeline.losses`. On a CPU it is exact
(`tests/pipeline/planning/test_activations.py` holds it against what autograd says it saved). On a CUDA device other
kernels run; their terms are derived from what those save, not measured.

Shapes: T tokens, B samples, M masked tokens, H hidden_size, I intermediate_size, N attention heads, V vocab_size,
S slots (tokens and padding that attention computes), P pairs of slots of one sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.kernels.attention import backend, bucketed_layout
from pipeline.losses.cross_entropy import CPU_CHUNK_ELEMENTS, DEVICE_CHUNK_ELEMENTS
from pipeline.model.encoder import EncoderConfig

INDEX = 8
"""Bytes of an int64: token ids, labels, indices."""
FLOAT = 4
"""Bytes of an fp32."""


@dataclass(frozen=True)
class MicroBatch:
    """Sizes of one micro-batch."""

    samples: int
    """B."""
    tokens: int
    """T."""
    masked: int
    """M."""
    slots: int
    """S: with T equal to it, nothing is padded and nothing copied."""
    pairs: int
    """P: sum over sequences of the square of the width that each is padded to."""
    padded: int = 0
    """Slots in buckets that have padding, which a mask tells apart."""
    lone: int = 0
    """Slots of buckets with one sequence: its keys and values are views, which keep all of query, key and value."""

    @classmethod
    def uniform(cls, samples: int, length: int, masked: int) -> "MicroBatch":
        """All sequences of one length; `masked` of each."""
        return cls(samples, samples * length, samples * masked, samples * length, samples * length**2)

    @classmethod
    def of(cls, lengths: Sequence[int], masked: int, kind: str) -> "MicroBatch":
        """Sequences of these lengths on a device of this kind ("cpu", "cuda"), which pads them its way.

        Args:
            lengths: tokens of each sequence.
            masked: masked tokens of all.
            kind: on a CPU, sequences of like length share a width; elsewhere all have the longest's.
        """
        tokens, count = sum(lengths), len(lengths)
        if kind != "cpu":
            widest = max(lengths)
            return cls(count, tokens, masked, count * widest, count * widest**2, count * widest)
        buckets = bucketed_layout((0, *np.cumsum(lengths).tolist())).buckets
        shapes = [tuple(bucket.real.shape) for bucket in buckets]
        return cls(
            samples=count,
            tokens=tokens,
            masked=masked,
            slots=sum(c * w for c, w in shapes),
            pairs=sum(c * w * w for c, w in shapes),
            padded=sum(c * w for (c, w), bucket in zip(shapes, buckets, strict=True) if bucket.padded),
            lone=sum(w for c, w in shapes if c == 1),
        )


HIDDEN = 5
"""(T, H) tensors of a layer outside attention, whichever kernels run: its input, the inputs of `attention_output` and
`intermediate`, and what each of two normalisations computes its sum from, or the sum itself."""


@dataclass(frozen=True)
class AttentionKernel:
    """What attention keeps of a layer."""

    qkv: int = 3
    """(S, H) tensors: query, key and value."""
    probabilities: int = 0
    """(N, P) tensors without dropout on the probabilities."""
    keep: int = 0
    """Bytes per head and pair that it keeps of dropout on them."""
    normaliser: int = 0
    """Bytes per head and slot."""
    padded_context: int = 0
    """(S, H) tensors of its output that are kept where they are not the input of `attention_output`."""


ATTENTION = {
    # product, softmax, product
    "bucketed": AttentionKernel(probabilities=1, keep=1),
    # FlashAttention over cu_seqlens: its output is the input of `attention_output`
    "varlen": AttentionKernel(normaliser=FLOAT),
    "flash_attn": AttentionKernel(normaliser=FLOAT),
    # the same on a padded copy, from which the tokens are then taken
    "padded": AttentionKernel(normaliser=FLOAT, padded_context=1),
}
"""Backend of `pipeline.kernels.attention` -> what is kept; `bucketed` is measured, the others are derived."""


@dataclass(frozen=True)
class RowKernels:
    """What the kernels outside attention keep."""

    mask: int
    """Bytes of an element of a dropout mask (T, H)."""
    statistic: int | None
    """Bytes of a mean or a deviation that a normalisation keeps per token; None: as wide as the model's type."""
    widened: int
    """Elements of logits that the cross entropy widens at a time."""
    seed: int = 0
    """Bytes from which a normalisation computes its mask again."""
    in_place: bool = False
    """Whether the gradient of logits is written over them."""


ROWS = {
    "cpu": RowKernels(1, None, CPU_CHUNK_ELEMENTS),
    "cuda": RowKernels(1, FLOAT, DEVICE_CHUNK_ELEMENTS),
    "triton": RowKernels(0, FLOAT, 0, seed=INDEX, in_place=True),
}
"""Plain torch on either device, and our Triton kernels; `cpu` and `triton` are measured, `cuda` is derived."""


@dataclass(frozen=True)
class Activations:
    """Bytes of one micro-batch."""

    embeddings: int
    """Of the embeddings, with the layout that all layers' attention shares and the batch itself."""
    layer: int
    """Of one layer."""
    layer_input: int
    """What activation checkpointing keeps of a layer instead."""
    head: int
    """Of both heads without the logits over the vocabulary."""
    logits: "Logits"
    """(M, V)."""
    working: int
    """Taken and given back in one layer's backward pass: gradients of what it computes with."""
    chunk: int
    """Taken and given back by the cross entropy, which works in fp32."""


@dataclass(frozen=True)
class Logits:
    """Bytes of the logits over the vocabulary, or of a chunk of them."""

    kept: int
    """From forward to backward."""
    forward: int
    """Taken and given back forward."""
    backward: int
    """Taken and given back backward: their gradient, or a chunk of them that is computed once more."""

    @property
    def chunked(self) -> bool:
        """Whether they are computed in chunks."""
        return self.forward > 0


def activations(
    config: EncoderConfig, vocab_size: int, batch: MicroBatch, dtype: torch.dtype, device: torch.device
) -> Activations:
    """Bytes that a micro-batch's forward pass keeps.

    Args:
        config: the model's shape, the probabilities of dropout, and its kernels.
        vocab_size: V.
        batch: its sizes.
        dtype: the model's.
        device: which kernels run.
    """
    path = backend(device, dtype, config.attention_probs_dropout_prob)
    plain, rows = ROWS[device.type], row_kernels(config, device)
    heads, hidden, size = config.num_attention_heads, config.hidden_size, dtype.itemsize
    wide, inner = batch.tokens * hidden * size, batch.tokens * config.intermediate_size * size

    def norm(kernels: RowKernels) -> int:
        """A normalisation's statistics and the mask of the dropout beside it."""
        mask = batch.tokens * hidden * kernels.mask if config.hidden_dropout_prob else 0
        return mask + kernels.seed + 2 * batch.tokens * _width(kernels.statistic, size)

    layer = HIDDEN * wide + (1 if config.recompute_activation else 2) * inner + 2 * norm(rows)
    layer += _attention(config, batch, size, path)
    copied = path in ("bucketed", "padded") and batch.slots != batch.tokens
    layout = INDEX * (batch.slots + batch.tokens) if copied else 0
    of_head = batch.masked * hidden * size  # the dense layer's input, the activation's, the norm's, the decoder's
    return Activations(
        embeddings=wide + norm(plain) + 3 * INDEX * batch.tokens + layout,
        layer=layer,
        layer_input=wide,
        head=4 * of_head
        + 2 * batch.masked * _width(plain.statistic, size)
        + batch.masked * (2 * INDEX + FLOAT)  # positions, labels, log normalisers
        + batch.samples
        * (2 * (hidden + 1) * size + INDEX + FLOAT)  # [CLS] rows, pooled, pair logits; label, normaliser
        + FLOAT * (batch.samples + 1),  # where sequences begin
        logits=_logits(batch.masked, vocab_size * size, config.max_logits_mib << 20, rows),
        working=2 * inner + 3 * wide + 2 * heads * batch.pairs * size * bool(ATTENTION[path].probabilities),
        chunk=(2 if size < FLOAT else 1) * FLOAT * min(batch.masked * vocab_size, rows.widened),
    )


def row_kernels(config: EncoderConfig, device: torch.device) -> RowKernels:
    """What `pipeline.kernels.backends` would choose there, Triton being installed."""
    fused = config.kernels == "triton" or (config.kernels == "auto" and device.type == "cuda")
    return ROWS["triton" if fused else device.type]


def _width(size: int | None, of_model: int) -> int:
    return of_model if size is None else size


def _logits(masked: int, row_bytes: int, max_bytes: int, kernels: RowKernels) -> Logits:
    """As `pipeline.losses.projection` computes them."""
    fitting = max(1, max_bytes // row_bytes)
    if masked > fitting:
        return Logits(0, fitting * row_bytes, fitting * row_bytes)
    return Logits(masked * row_bytes, 0, 0 if kernels.in_place else masked * row_bytes)


def _attention(config: EncoderConfig, batch: MicroBatch, size: int, path: str) -> int:
    """Bytes that attention keeps in one layer, without the input of `attention_output`."""
    kernel, heads = ATTENTION[path], config.num_attention_heads
    slots = batch.slots if path in ("bucketed", "padded") else batch.tokens
    kept = (kernel.qkv + kernel.padded_context) * slots
    drops = config.attention_probs_dropout_prob > 0.0
    if path == "bucketed" and batch.lone and not drops:
        kept += 3 * slots - 2 * batch.lone
    masks = batch.padded if path == "bucketed" and not drops else 0
    probabilities = (kernel.probabilities * size + kernel.keep * drops) * heads * batch.pairs
    return kept * config.hidden_size * size + probabilities + kernel.normaliser * heads * slots + masks
