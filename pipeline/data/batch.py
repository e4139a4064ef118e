"""Training batches without padding: samples laid end to end and changed by the family's corruption.

Sample i lies in rows cu_seqlens[i] to cu_seqlens[i + 1] of the flat arrays. Nothing is padded: MLPerf's Wikipedia
samples fill 254 of 512 positions on average, so padding would double the work (computed from packed_data/README.md of
NVIDIA's BERT in mlcommons/training_results_v3.1). Masked rows are listed, so that the output layer computes no others.

Shapes: B samples, T tokens of all of them with special tokens, M masked tokens.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.data.config import Corruption
from pipeline.data.hashing import Purpose
from pipeline.data.labels import IGNORED
from pipeline.data.masking import Draw, Int64Array, position_keys, uniform
from pipeline.data.packing import pack
from pipeline.data.special_tokens import SpecialTokens
from pipeline.data.template import Template
from preprocessing.schema import LABELLED
from preprocessing.shards import SampleDataset

MASKED_PADDING = {"positions": 0, "labels": IGNORED, "uniform": 0}
"""Targets with a value for each masked token -> the value in the padding."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One micro-batch: the inputs of a model, its targets, and the counts by which each loss is divided."""

    input_ids: Tensor
    """(T,) int64, tokens with the masks applied."""
    segment_ids: Tensor | None
    """(T,) int64, 0 in the first segment and 1 in the second; None for a family without segment embeddings."""
    position_ids: Tensor
    """(T,) int64, position within the sample."""
    cu_seqlens: Tensor
    """(B + 1,) int32, start of each sample, and end of the last one; further entries divide padding, if any."""
    max_seqlen: int
    """Number of tokens of the longest sample; with a fixed shape, an upper bound."""
    targets: Mapping[str, Tensor]
    """Targets of the losses. "positions" (M,) int64: indices into T of the masked tokens, ascending but for the
    padding; "labels" (M,) int64: the original tokens there, IGNORED in the padding; "uniform" (M,) float32: a
    random number in [0, 1) for each, with which a generator samples a token; "pair" (B,) int64: the label of each pair
    of segments, if the samples have labels."""
    counts: Mapping[str, int]
    """Counts of this micro-batch: "samples", "tokens" with special tokens, "masked"."""
    totals: Mapping[str, int]
    """The same counts of the global batch: each loss is a sum divided by one of them (law 3)."""
    sample_ids: Int64Array
    """(B,) row of each sample in the dataset, for error reports."""
    epochs: Int64Array
    """(B,) pass over the dataset each sample belongs to, for error reports."""
    group: int
    """Number of the micro-batch in its global batch, the same at every world size; part of the seed of dropout."""
    weight: int = 1
    """0 for a batch of an evaluation that must not be counted and only gives all ranks equally many batches; else 1."""

    @property
    def num_samples(self) -> int:
        """Number of samples B."""
        return len(self.sample_ids)

    @property
    def lengths(self) -> Tensor:
        """(B,) number of tokens of each sample."""
        return self.cu_seqlens[: self.num_samples + 1].diff()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The batch with its tensors on `device`; arrays for error reports stay on the host."""
        return Batch(**self._mapped(Tensor, lambda tensor: tensor.to(device, non_blocking=non_blocking)))

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, from which copies to the device overlap with computation."""
        return Batch(**self._mapped(Tensor, Tensor.pin_memory))

    def __getstate__(self) -> dict[str, Any]:
        """Returns the fields with arrays in place of tensors, so that a worker process sends a batch as one message.

        PyTorch would open a shared-memory file for each tensor instead, which takes three times as long at these sizes.
        """
        return self._mapped(Tensor, lambda tensor: _Sent(tensor.numpy()))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__.update(self._mapped(_Sent, lambda sent: torch.from_numpy(sent.array)))

    def _mapped(self, kind: type, function: Callable[[Any], Any]) -> dict[str, Any]:
        """Returns all fields by name, with `function` applied to values of type `kind`, also inside mappings."""

        def applied(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {key: applied(inner) for key, inner in value.items()}
            return function(value) if isinstance(value, kind) else value

        return {field.name: applied(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class _Sent:
    """The values of a tensor in the message of a worker process."""

    array: npt.NDArray[Any]


def make_batch(
    samples: SampleDataset,
    draw: Draw,
    corruption: Corruption,
    template: Template,
    special: SpecialTokens,
    *,
    totals: Mapping[str, int],
    group: int,
    weight: int = 1,
    token_multiple: int = 1,
    longest: int = 0,
) -> Batch:
    """Reads the samples `draw.indices`, packs them and applies the corruption.

    Args:
        samples: the dataset.
        draw: seed, epochs and indices of the samples.
        corruption: which tokens the model must restore.
        template: the special tokens around segments.
        special: special tokens and word continuations of the vocabulary.
        totals: counts of the global batch.
        group: number of this micro-batch in its global batch.
        weight: 0 if the batch must not be counted.
        token_multiple: multiple to which T is padded, as in `padded`.
        longest: length of the longest sample of the dataset for a fixed shape, as in `padded`; 0: none.

    Raises:
        ValueError: a shard was damaged after it was verified.
    """
    samples.check_whole(draw.indices)
    tokens, boundaries = samples.tokens(draw.indices), samples.boundaries[draw.indices]
    check_sound(samples, draw.indices, tokens, boundaries)
    packed = pack(template, tokens, boundaries, special.ids)
    lengths = np.diff(packed.cu_seqlens)  # (B,)
    counts = corruption.counts(lengths, draw)  # (B,)
    corrupted = corruption.apply(packed, counts, draw, special)
    targets: dict[str, np.ndarray[Any, Any]] = dict(corrupted.targets)
    keys = position_keys(packed, targets["positions"], counts, draw.keys(Purpose.REPLACEMENT))
    targets["uniform"] = uniform(keys)
    if samples.manifest.segments in LABELLED:
        targets["pair"] = samples.labels[draw.indices].astype(np.int64)
    batch = Batch(
        input_ids=torch.from_numpy(corrupted.input_ids),
        segment_ids=torch.from_numpy(packed.segment_ids) if template.segments else None,
        position_ids=torch.from_numpy(packed.position_ids),
        cu_seqlens=torch.from_numpy(packed.cu_seqlens.astype(np.int32)),
        max_seqlen=int(lengths.max()),
        targets={name: torch.from_numpy(values) for name, values in targets.items()},
        counts=count(lengths, counts),
        totals=totals,
        sample_ids=draw.indices,
        epochs=draw.epochs,
        group=group,
        weight=weight,
    )
    return padded(batch, token_multiple, special.ids["pad"], longest)


def count(lengths: Int64Array, masked: Int64Array) -> dict[str, int]:
    """Returns the counts by which losses are divided, from the lengths (B,) and masked tokens (B,) of samples."""
    return {"samples": len(lengths), "tokens": int(lengths.sum()), "masked": int(masked.sum())}


def check_sound(
    samples: SampleDataset,
    indices: Int64Array,
    tokens: Sequence[npt.NDArray[np.integer]],
    boundaries: npt.NDArray[np.integer],
) -> None:
    """Checks samples for damage that would end a process on a GPU without an error message.

    Raises:
        ValueError: a token id is not in the vocabulary, or a segment is empty.
    """
    highest = max(int(sample.max(initial=0)) for sample in tokens)
    lengths = np.array([len(sample) for sample in tokens])
    if highest >= samples.manifest.vocab_size or has_empty_segment(samples, lengths, boundaries).any():
        raise ValueError(
            f"{samples.directory}: one of the samples {indices.tolist()} has a token that is no word, or an empty "
            "segment: the shard was damaged after it was verified; check it with python -m preprocessing verify, and "
            "restart the run"
        )


def has_empty_segment(
    samples: SampleDataset, lengths: npt.NDArray[np.integer], boundaries: npt.NDArray[np.integer]
) -> npt.NDArray[np.bool_]:
    """Returns (B,) whether a required segment is empty: the first one, or the second one of labelled pairs."""
    empty = (boundaries == 0) | (boundaries > lengths)
    return empty | (boundaries == lengths) if samples.manifest.segments in LABELLED else empty


def padded(batch: Batch, multiple: int, pad_id: int, longest: int = 0) -> Batch:
    """Returns the batch with T padded to a multiple, and M to an eighth of that multiple, without effect on the loss.

    Compiled kernels and CUDA graphs are specific to a shape; without padding nearly every micro-batch has a shape of
    its own. The padding consists of sequences that attend to themselves, and of masked rows with the label IGNORED, so
    that losses and gradients are the same as without padding, except for rounding (law 3).

    Args:
        batch: a batch without padding.
        multiple: number of tokens; 1 for no padding.
        pad_id: token id of the padding.
        longest: if it is not 0, the shape depends on T / multiple, M / (multiple / 8) and B only: `max_seqlen` is this
            number, and the padding always has the number of sequences that the most padding needs.
    """
    if multiple == 1:
        return batch
    real, rows = len(batch.input_ids), len(batch.targets["labels"])
    masked = -rows % max(1, multiple // 8)
    if longest:
        sequences = math.ceil((multiple - 1) / max(1, longest - 1))  # as many as one token less than a multiple fills
        tokens = sequences + -(real + sequences) % multiple  # at least one for each, since kernels need not skip any
        ends = [real + tokens * number // sequences for number in range(1, sequences + 1)]
    else:
        tokens = -real % multiple
        end = real + tokens
        ends = torch.arange(real, end, batch.max_seqlen)[1:].tolist() + [end] * bool(tokens)
    return replace(
        batch,
        input_ids=_extended(batch.input_ids, [pad_id] * tokens),
        segment_ids=None if batch.segment_ids is None else _extended(batch.segment_ids, [0] * tokens),
        position_ids=_extended(batch.position_ids, [0] * tokens),
        cu_seqlens=_extended(batch.cu_seqlens, ends),
        max_seqlen=longest or batch.max_seqlen,
        targets={
            name: _extended(values, [MASKED_PADDING[name]] * masked) if name in MASKED_PADDING else values
            for name, values in batch.targets.items()
        },
    )


def _extended(tensor: Tensor, values: list[int]) -> Tensor:
    return torch.cat([tensor, tensor.new_tensor(values)]) if values else tensor
