"""Padding-free training batches: samples laid end to end, with masks.

Sample i is `[CLS] A [SEP] B [SEP]` in rows cu_seqlens[i] to cu_seqlens[i + 1] of the flat arrays. Nothing is padded:
MLPerf's Wikipedia samples fill 254 of 512 positions on average, so padding would double the work (computed from
packed_data/README.md of NVIDIA's BERT in mlcommons/training_results_v3.1). Masked rows are listed, so that the output
layer computes no others.

Shapes: B samples, T tokens of all of them with special tokens, M masked tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.data.labels import IGNORED
from pipeline.data.masking import BoolArray, Draw, Int64Array, MaskingConfig, mask_tokens, ranges
from pipeline.data.special_tokens import SpecialTokens
from preprocessing.shards import SampleDataset

NUM_SPECIAL = 3  # [CLS] A [SEP] B [SEP]


@dataclass(frozen=True, eq=False)
class Batch:
    """One micro-batch: what a model reads, what it must predict, and what the loss is divided by."""

    input_ids: Tensor
    """(T,) int64, masks applied."""
    token_type_ids: Tensor
    """(T,) int64, 0 in `[CLS] A [SEP]` and 1 in `B [SEP]`."""
    position_ids: Tensor
    """(T,) int64, position within the sample."""
    cu_seqlens: Tensor
    """(B + 1,) int32, where each sample starts, and where the last ends; more entries divide the tail, if any."""
    max_seqlen: int
    """Tokens of the longest sample."""
    masked_positions: Tensor
    """(M,) int64, indices into T; ascending, but for a tail of repetitions."""
    masked_labels: Tensor
    """(M,) int64, the tokens that stood there; IGNORED in the tail."""
    pair_labels: Tensor
    """(B,) int64, 0 where B follows A in the document, 1 where it is random."""
    num_masked_global: int
    """Masked tokens of the global batch: the masked-token loss is a sum divided by this."""
    num_samples_global: int
    """Samples of the global batch: the sentence-pair loss is a sum divided by this."""
    sample_ids: Int64Array
    """(B,) row of each sample in the dataset, for error reports."""
    epochs: Int64Array
    """(B,) pass over the dataset each sample belongs to, for error reports."""
    group: int
    """Number of the micro-batch in its global batch, the same at every world size; seeds dropout with seed and step."""
    weight: int = 1
    """0 where the batch only keeps this rank in step with the others in evaluation and must not be counted, else 1."""

    @property
    def num_samples(self) -> int:
        """Samples B."""
        return len(self.pair_labels)

    @property
    def lengths(self) -> Tensor:
        """(B,) tokens of each sample."""
        return self.cu_seqlens[: self.num_samples + 1].diff()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The batch with its tensors on `device`; arrays for error reports stay on the host."""
        return Batch(**self._mapped(lambda tensor: tensor.to(device, non_blocking=non_blocking)))

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, from which copies to the device overlap with computation."""
        return Batch(**self._mapped(Tensor.pin_memory))

    def __getstate__(self) -> dict[str, Any]:
        """The fields with arrays in place of tensors, so that a batch leaves a worker process as one message.

        PyTorch would open a shared-memory file for each tensor instead, which takes three times as long at these sizes.
        """
        return self._mapped(Tensor.numpy)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__.update(self._mapped(torch.from_numpy))

    def _mapped(self, function: Callable[[Any], Any]) -> dict[str, Any]:
        """All fields by name, with `function` applied to those that are tensors."""
        values = {field: getattr(self, field.name) for field in fields(self)}
        return {field.name: function(value) if field.type is Tensor else value for field, value in values.items()}


class PackedPairs(NamedTuple):
    """Sentence pairs with their special tokens, laid end to end."""

    input_ids: Int64Array
    """(T,) tokens."""
    token_type_ids: Int64Array
    """(T,) segment, 0 or 1."""
    position_ids: Int64Array
    """(T,) position within the sample."""
    cu_seqlens: Int64Array
    """(B + 1,) where each sample starts; the last entry is T."""
    is_text: BoolArray
    """(T,) False at special tokens."""


def pack_pairs(
    tokens: Sequence[npt.NDArray[np.integer]], boundaries: npt.NDArray[np.integer], cls_id: int, sep_id: int
) -> PackedPairs:
    """Packs sentence pairs as `[CLS] A [SEP] B [SEP]`.

    Args:
        tokens: B arrays, the tokens of A then those of B.
        boundaries: (B,) where B starts in each.
        cls_id: id of [CLS].
        sep_id: id of [SEP].
    """
    lengths = np.array([len(sample) for sample in tokens]) + NUM_SPECIAL  # (B,)
    cu_seqlens = np.concatenate([[0], np.cumsum(lengths)])  # (B + 1,)
    starts, ends = cu_seqlens[:-1], cu_seqlens[1:]
    first_of_b = boundaries.astype(np.int64) + 2  # (B,) within the packed sample, after [CLS] A [SEP]
    separators = np.concatenate([starts + first_of_b - 1, ends - 1])

    input_ids = np.empty(cu_seqlens[-1], np.int64)  # (T,)
    is_text = np.ones(len(input_ids), np.bool_)  # (T,)
    is_text[starts] = is_text[separators] = False
    input_ids[is_text] = np.concatenate(tokens)
    input_ids[starts], input_ids[separators] = cls_id, sep_id

    position_ids = ranges(np.zeros_like(lengths), lengths)  # (T,)
    token_type_ids = (position_ids >= np.repeat(first_of_b, lengths)).astype(np.int64)  # (T,)
    return PackedPairs(input_ids, token_type_ids, position_ids, cu_seqlens, is_text)


def make_batch(
    samples: SampleDataset,
    draw: Draw,
    masking: MaskingConfig,
    special: SpecialTokens,
    *,
    num_masked_global: int,
    num_samples_global: int,
    group: int,
    weight: int = 1,
    token_multiple: int = 1,
) -> Batch:
    """Reads, packs and masks the samples `draw.indices`.

    Args:
        samples: the dataset.
        draw: seed, epochs and indices of the samples.
        masking: the masking rule.
        special: special tokens and word continuations of the vocabulary.
        num_masked_global: masked tokens of the global batch.
        num_samples_global: samples of the global batch.
        group: number of this micro-batch within its global batch.
        weight: 0 if the batch must not be counted.
        token_multiple: as in `with_tail`.

    Raises:
        ValueError: a shard was damaged after it was verified.
    """
    samples.check_whole(draw.indices)
    tokens, boundaries = samples.tokens(draw.indices), samples.boundaries[draw.indices]
    check_sound(samples, draw.indices, tokens, boundaries)
    packed = pack_pairs(tokens, boundaries, special.cls_id, special.sep_id)
    masked = mask_tokens(packed.input_ids, packed.is_text, packed.cu_seqlens, draw, masking, special)
    batch = Batch(
        input_ids=torch.from_numpy(masked.input_ids),
        token_type_ids=torch.from_numpy(packed.token_type_ids),
        position_ids=torch.from_numpy(packed.position_ids),
        cu_seqlens=torch.from_numpy(packed.cu_seqlens.astype(np.int32)),
        max_seqlen=int(np.diff(packed.cu_seqlens).max()),
        masked_positions=torch.from_numpy(masked.positions),
        masked_labels=torch.from_numpy(masked.labels),
        pair_labels=torch.from_numpy(samples.labels[draw.indices].astype(np.int64)),
        num_masked_global=num_masked_global,
        num_samples_global=num_samples_global,
        sample_ids=draw.indices,
        epochs=draw.epochs,
        group=group,
        weight=weight,
    )
    return with_tail(batch, token_multiple, special.pad_id)


def check_sound(
    samples: SampleDataset,
    indices: Int64Array,
    tokens: Sequence[npt.NDArray[np.integer]],
    boundaries: npt.NDArray[np.integer],
) -> None:
    """Look for damage that would end a GPU's process without a word.

    Raises:
        ValueError: a token is no word of the vocabulary, or a segment is empty.
    """
    highest = max(int(sample.max(initial=0)) for sample in tokens)
    lengths = np.array([len(sample) for sample in tokens])
    if highest >= samples.manifest.vocab_size or np.any(boundaries >= lengths) or np.any(boundaries == 0):
        raise ValueError(
            f"{samples.directory}: one of the samples {indices.tolist()} has a token that is no word, or an empty "
            "segment: the shard was damaged after it was verified; check with python -m preprocessing verify, and "
            "start the run again"
        )


def with_tail(batch: Batch, multiple: int, pad_id: int) -> Batch:
    """The batch with T rounded up to a multiple, and M to an eighth of one, by a tail that nothing is learnt from.

    Compiled kernels and CUDA graphs are made for a shape; without a tail nearly every micro-batch has another one. The
    tail is sequences of padding that attend to themselves, and masked rows whose label is IGNORED, so losses and
    gradients are those without it but for rounding (law 3).

    Args:
        batch: a batch without a tail.
        multiple: in tokens; 1 for no tail.
        pad_id: what the tail consists of.
    """
    if multiple == 1:
        return batch
    tail, masked_tail = -len(batch.input_ids) % multiple, -len(batch.masked_labels) % max(1, multiple // 8)
    end = len(batch.input_ids) + tail
    ends = torch.arange(len(batch.input_ids), end, batch.max_seqlen)[1:].tolist() + [end] * bool(tail)
    return replace(
        batch,
        input_ids=_extended(batch.input_ids, [pad_id] * tail),
        token_type_ids=_extended(batch.token_type_ids, [0] * tail),
        position_ids=_extended(batch.position_ids, [0] * tail),
        cu_seqlens=_extended(batch.cu_seqlens, ends),
        masked_positions=_extended(batch.masked_positions, [0] * masked_tail),
        masked_labels=_extended(batch.masked_labels, [IGNORED] * masked_tail),
    )


def _extended(tensor: Tensor, values: list[int]) -> Tensor:
    return torch.cat([tensor, tensor.new_tensor(values)]) if values else tensor
