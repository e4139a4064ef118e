"""Laws of pipeline/data/batch.py."""

import pickle
from dataclasses import fields
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch

from pipeline.data.batch import NUM_SPECIAL, Batch, make_batch, pack_pairs, with_tail
from pipeline.data.labels import IGNORED
from pipeline.data.masking import Draw, MaskingConfig
from pipeline.data.special_tokens import SpecialTokens

CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def batch(write_samples):
    """A batch of four samples of a dataset of thirty, and the dataset."""
    samples = write_samples(30)
    draw = Draw(0, np.array([0, 0, 0, 1]), np.array([3, 29, 7, 3]))
    special = SpecialTokens.load(samples.tokenizer_dir)
    counts = {"num_masked_global": 99, "num_samples_global": 24, "group": 5}
    return make_batch(samples, draw, MaskingConfig(), special, **counts), samples


def test_a_pair_is_packed_as_bert_reads_it():
    """Two hand-made pairs: [CLS] A [SEP] B [SEP], segment 0 up to the first [SEP], positions from 0 in each sample."""
    tokens = [np.array([10, 11, 12], np.uint16), np.array([20, 21], np.uint16)]
    packed = pack_pairs(tokens, np.array([2, 1], np.uint16), CLS, SEP)
    assert packed.input_ids.tolist() == [CLS, 10, 11, SEP, 12, SEP, CLS, 20, SEP, 21, SEP]
    assert packed.token_type_ids.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1]
    assert packed.position_ids.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4]
    assert packed.cu_seqlens.tolist() == [0, 6, 11]
    assert packed.is_text.tolist() == [False, True, True, False, True, False, False, True, False, True, False]


def test_tokens_of_the_last_ids_survive():
    """Ids of the upper half of uint16, and ids that need uint32, arrive as they are."""
    for dtype, top in ((np.uint16, 2**16 - 1), (np.uint32, 2**32 - 1)):
        packed = pack_pairs([np.array([top - 1, top], dtype)], np.array([1], np.uint16), CLS, SEP)
        assert packed.input_ids.tolist() == [CLS, top - 1, SEP, top, SEP]


def test_without_its_masks_a_batch_is_the_samples_packed(batch):
    """Putting the labels back gives the dataset's tokens, pair labels and nothing else."""
    made, samples = batch
    rows = made.sample_ids
    assert rows.tolist() == [3, 29, 7, 3]
    assert made.epochs.tolist() == [0, 0, 0, 1]
    restored = made.input_ids.clone()
    restored[made.masked_positions] = made.masked_labels
    packed = pack_pairs(samples.tokens(rows), samples.boundaries[rows], CLS, SEP)
    assert np.array_equal(restored, packed.input_ids)
    assert made.pair_labels.tolist() == samples.labels[rows].tolist()
    assert made.max_seqlen == samples.lengths[rows].max() + NUM_SPECIAL
    assert (made.num_masked_global, made.num_samples_global, made.group, made.weight) == (99, 24, 5, 1)


def test_types_are_those_the_model_reads(batch):
    """Every tensor is int64 but cu_seqlens, which the attention kernels want as int32; sizes agree."""
    made, _ = batch
    tensors = {
        field.name: value for field in fields(Batch) if isinstance(value := getattr(made, field.name), torch.Tensor)
    }
    assert tensors.pop("cu_seqlens").dtype == torch.int32
    assert {tensor.dtype for tensor in tensors.values()} == {torch.int64}
    total = int(made.cu_seqlens[-1])
    assert [len(tensors[name]) for name in ("input_ids", "token_type_ids", "position_ids")] == [total] * 3
    assert len(made.masked_positions) == len(made.masked_labels)


@pytest.mark.parametrize("multiple", [1, 2, 64, 500])
def test_a_tail_rounds_the_shapes_up(batch, multiple):
    """T is the least multiple, M the least of its eighth. The samples stay; the tail is padding in sequences no longer
    than the longest, and rows that are ignored."""
    made, _ = batch
    padded = with_tail(made, multiple, pad_id=7)
    tokens, masked = len(made.input_ids), len(made.masked_labels)
    assert len(padded.input_ids) == -(-tokens // multiple) * multiple
    assert len(padded.masked_labels) == -(-masked // max(1, multiple // 8)) * max(1, multiple // 8)
    for name in ("input_ids", "token_type_ids", "position_ids", "cu_seqlens", "masked_positions", "masked_labels"):
        before, after = getattr(made, name), getattr(padded, name)
        assert torch.equal(after[: len(before)], before) and after.dtype == before.dtype
    assert torch.equal(padded.lengths, made.lengths)
    assert (padded.input_ids[tokens:] == 7).all() and not padded.position_ids[tokens:].any()
    assert (padded.masked_labels[masked:] == IGNORED).all()
    assert padded.cu_seqlens[-1] == len(padded.input_ids)
    assert ((padded.cu_seqlens.diff() > 0) & (padded.cu_seqlens.diff() <= made.max_seqlen)).all()


def test_moving_a_batch_moves_its_tensors_only(batch):
    """`to` gives a batch whose tensors are all on the device and whose other fields are the same objects."""
    made, _ = batch
    moved = made.to("meta")
    for field in fields(Batch):
        before, after = getattr(made, field.name), getattr(moved, field.name)
        if isinstance(before, torch.Tensor):
            assert after.device.type == "meta"
            assert after.shape == before.shape
        else:
            assert after is before


def test_a_batch_comes_out_of_a_worker_as_it_went_in(batch):
    """Between processes the tensors travel as arrays; what arrives are tensors again, equal and of the same types."""
    made, _ = batch
    arrived = pickle.loads(ForkingPickler.dumps(made))
    for field in fields(Batch):
        before, after = getattr(made, field.name), getattr(arrived, field.name)
        assert type(after) is type(before)
        assert np.array_equal(after, before)
        assert not isinstance(before, torch.Tensor) or (after.dtype == before.dtype and not after.is_shared())


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="page-locked memory needs an accelerator")
def test_pinning_keeps_the_values(batch):
    """A pinned batch equals the batch, in page-locked memory."""
    made, _ = batch
    pinned = made.pin_memory()
    assert pinned.input_ids.is_pinned()
    assert torch.equal(pinned.input_ids, made.input_ids)
