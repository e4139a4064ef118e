"""Laws of pipeline/data/batch.py."""

import pickle
from dataclasses import fields
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch

from pipeline.data.batch import Batch, make_batch, padded
from pipeline.data.labels import IGNORED
from pipeline.data.masking import Draw, MaskingConfig
from pipeline.data.packing import pack
from pipeline.data.special_tokens import SpecialTokens
from pipeline.data.template import Template

CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def batch(write_samples):
    """A batch of four samples of a dataset of thirty, and the dataset."""
    samples = write_samples(30)
    draw = Draw(0, np.array([0, 0, 0, 1]), np.array([3, 29, 7, 3]))
    special = SpecialTokens.load(samples.tokenizer_dir)
    totals = {"masked": 99, "samples": 24, "tokens": 999}
    return make_batch(samples, draw, MaskingConfig(), Template(), special, totals=totals, group=5), samples


def tensors_of(batch):
    """Return all tensors of a batch by name, targets included."""
    values = {field.name: getattr(batch, field.name) for field in fields(Batch)} | batch.targets
    return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}


def test_without_its_masks_a_batch_is_the_samples_packed(batch):
    """With the labels put back in place of the masks, a batch holds the dataset's tokens and pair labels and nothing
    else.
    """
    made, samples = batch
    rows = made.sample_ids
    assert rows.tolist() == [3, 29, 7, 3]
    assert made.epochs.tolist() == [0, 0, 0, 1]
    restored = made.input_ids.clone()
    restored[made.targets["positions"]] = made.targets["labels"]
    packed = pack(Template(), samples.tokens(rows), samples.boundaries[rows], {"cls": CLS, "sep": SEP})
    assert np.array_equal(restored, packed.input_ids)
    assert made.targets["pair"].tolist() == samples.labels[rows].tolist()
    assert made.max_seqlen == samples.lengths[rows].max() + 3
    assert made.counts == {
        "samples": 4,
        "tokens": len(packed.input_ids),
        "masked": len(made.targets["labels"]),
    }
    assert (made.totals["masked"], made.totals["samples"], made.group, made.weight) == (99, 24, 5, 1)


def test_types_are_those_the_model_reads(batch):
    """Every tensor is int64 except cu_seqlens, which the attention kernels read as int32, and numbers for sampling, and
    sizes agree.
    """
    made, _ = batch
    tensors = tensors_of(made)
    assert tensors.pop("cu_seqlens").dtype == torch.int32
    assert tensors["uniform"].shape == tensors["labels"].shape and tensors.pop("uniform").dtype == torch.float32
    assert {tensor.dtype for tensor in tensors.values()} == {torch.int64}
    total = int(made.cu_seqlens[-1])
    assert [len(tensors[name]) for name in ("input_ids", "segment_ids", "position_ids")] == [total] * 3
    assert len(made.targets["positions"]) == len(made.targets["labels"])


@pytest.mark.parametrize("multiple", [1, 2, 64, 500])
def test_padding_rounds_the_shapes_up(batch, multiple):
    """T is rounded up to the multiple, and M to an eighth of it. The samples are unchanged; the padding is in sequences
    no longer than the longest, and in rows that are ignored.
    """
    made, _ = batch
    more = padded(made, multiple, pad_id=7)
    tokens, masked = len(made.input_ids), len(made.targets["labels"])
    assert len(more.input_ids) == -(-tokens // multiple) * multiple
    assert len(more.targets["labels"]) == -(-masked // max(1, multiple // 8)) * max(1, multiple // 8)
    for name, before in tensors_of(made).items():
        after = tensors_of(more)[name]
        assert torch.equal(after[: len(before)], before) and after.dtype == before.dtype
    assert more.targets["uniform"].shape == more.targets["labels"].shape
    assert torch.equal(more.lengths, made.lengths)
    assert (more.input_ids[tokens:] == 7).all() and not more.position_ids[tokens:].any()
    assert (more.targets["labels"][masked:] == IGNORED).all()
    assert more.cu_seqlens[-1] == len(more.input_ids)
    assert ((more.cu_seqlens.diff() > 0) & (more.cu_seqlens.diff() <= made.max_seqlen)).all()


def test_moving_a_batch_moves_its_tensors_only(batch):
    """`to` returns a batch whose tensors are on the device and whose other fields are the same objects."""
    made, _ = batch
    moved = made.to("meta")
    for name, before in tensors_of(made).items():
        after = tensors_of(moved)[name]
        assert after.device.type == "meta" and after.shape == before.shape
    assert moved.counts == made.counts and moved.totals == made.totals and moved.sample_ids is made.sample_ids


def test_a_batch_comes_out_of_a_worker_as_it_went_in(batch):
    """A batch that a worker process sends as arrays arrives as equal tensors of the same types."""
    made, _ = batch
    arrived = pickle.loads(ForkingPickler.dumps(made))
    for name, before in tensors_of(made).items():
        after = tensors_of(arrived)[name]
        assert torch.equal(after, before) and after.dtype == before.dtype and not after.is_shared()
    assert tensors_of(arrived).keys() == tensors_of(made).keys()
    for field in fields(Batch):
        before, after = getattr(made, field.name), getattr(arrived, field.name)
        assert type(after) is type(before)
        assert field.name == "targets" or np.array_equal(after, before)


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="page-locked memory needs an accelerator")
def test_pinning_keeps_the_values(batch):
    """A pinned batch equals the batch and is in page-locked memory."""
    made, _ = batch
    pinned = made.pin_memory()
    assert pinned.input_ids.is_pinned()
    assert torch.equal(pinned.input_ids, made.input_ids)
