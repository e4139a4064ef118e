"""Laws of pipeline/data/heldout.py."""

import pytest
from batches import same, samples_of

from pipeline.data.heldout import evaluation_batches
from pipeline.data.template import Template

NUM_SAMPLES = 50


@pytest.fixture(scope="module")
def samples(write_samples):
    return write_samples(NUM_SAMPLES)


def evaluate(samples, world_size, max_samples=NUM_SAMPLES, micro_batch_size=8):
    """Return each rank's evaluation batches."""
    return [
        list(evaluation_batches(samples, Template(), micro_batch_size, rank, world_size, max_samples))
        for rank in range(world_size)
    ]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 9])
def test_evaluation_is_the_same_at_every_world_size(samples, world_size):
    """All ranks get equally many batches; those that count are the batches of one rank alone, each once."""
    ranks = evaluate(samples, world_size)
    assert {len(batches) for batches in ranks} == {-(-7 // world_size)}
    counted = {batch.group: batch for batches in ranks for batch in batches if batch.weight == 1}
    (alone,) = evaluate(samples, 1)
    assert sum(batch.weight for batches in ranks for batch in batches) == len(alone) == 7
    assert all(same(batch, counted[batch.group]) for batch in alone)


def test_evaluation_counts_every_sample_once(samples):
    """All samples are evaluated, the last batch is partial, and the denominators are those of the whole split."""
    (batches,) = evaluate(samples, 1)
    assert sorted(samples_of(batches)) == [(0, row) for row in range(NUM_SAMPLES)]
    assert [len(batch.sample_ids) for batch in batches] == [8] * 6 + [2]
    assert {batch.totals["masked"] for batch in batches} == {sum(len(batch.targets["positions"]) for batch in batches)}
    assert {batch.totals["samples"] for batch in batches} == {NUM_SAMPLES}


def test_evaluation_of_a_part_is_a_part_of_the_whole(samples):
    """With max_samples, the first samples of the same order are evaluated with the same masks."""
    (part,), (whole,) = evaluate(samples, 1, max_samples=16), evaluate(samples, 1)
    assert samples_of(part) == samples_of(whole[:2])
    assert {batch.totals["samples"] for batch in part} == {16}


def test_an_empty_split_is_refused(write_samples):
    """A split without samples is an error that names it."""
    with pytest.raises(ValueError, match="split 'train' has no samples"):
        evaluate(write_samples([], []), 1)
