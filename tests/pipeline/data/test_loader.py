"""Laws of pipeline/data/loader.py."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import same, samples_of

from pipeline.data.loader import BatchDivision, DataConfig, MicroBatches, make_loader
from pipeline.data.masking import MaskingConfig
from pipeline.data.template import Template

MASKING = MaskingConfig(whole_word=True)
NUM_SAMPLES, GLOBAL_BATCH, MICRO_BATCH = 50, 24, 2
STEPS = 5


@pytest.fixture(scope="module")
def samples(write_samples):
    """A dataset of fifty samples, of which the third batch of 24 reaches into the second epoch."""
    return write_samples(NUM_SAMPLES)


def micro_batches(samples, rank=0, world_size=1, micro_batch_size=MICRO_BATCH, **options):
    """Return the micro-batches of a rank with the sizes of these tests."""
    division = BatchDivision(GLOBAL_BATCH, micro_batch_size, rank, world_size)
    return MicroBatches(samples, division, MASKING, Template(), **({"seed": 7} | options))


def step_of(samples, step, world_size, **options):
    """Return all micro-batches of a step over all ranks, by their number."""
    batches = {}
    for rank in range(world_size):
        items = micro_batches(samples, rank, world_size, **options)
        accumulation = items.division.accumulation
        for item in range(step * accumulation, (step + 1) * accumulation):
            assert items[item].group not in batches
            batches[items[item].group] = items[item]
    return batches


def test_a_token_multiple_leaves_few_shapes(samples):
    """With a token multiple, the micro-batches of all steps have one or two numbers of tokens, and the same samples."""
    plain, rounded = (micro_batches(samples, token_multiple=multiple) for multiple in (1, 64))
    items = range(STEPS * plain.division.accumulation)
    assert len({len(plain[item].input_ids) for item in items}) > 10
    assert len({len(rounded[item].input_ids) for item in items}) <= 2
    assert all(np.array_equal(plain[item].sample_ids, rounded[item].sample_ids) for item in items)
    with pytest.raises(ValueError, match=r"data.token_multiple = 0"):
        DataConfig(Path("samples"), token_multiple=0)


def test_fixed_shapes_depend_on_multiples_only(samples):
    """Bounds, longest length and numbers of tokens and masked rows take few values; every sequence fits."""
    batches = micro_batches(samples, token_multiple=64, fixed_shapes=True)
    shapes = set()
    for item in range(STEPS * batches.division.accumulation):
        batch = batches[item]
        lengths = batch.cu_seqlens.diff()
        assert lengths.min() >= 1 and lengths.max() <= batch.max_seqlen and lengths.sum() == len(batch.input_ids)
        shapes.add((batch.max_seqlen, *(value.shape for value in (batch.input_ids, lengths, batch.targets["labels"]))))
    assert len(shapes) <= 6
    with pytest.raises(ValueError, match=r"data.fixed_shapes = true: requires data.token_multiple above 1"):
        DataConfig(Path("samples"), fixed_shapes=True)


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_the_micro_batches_of_a_step_do_not_depend_on_the_world_size(samples, world_size):
    """Any number of ranks computes the same micro-batches, bit for bit, under the same numbers (law 2)."""
    for step in range(STEPS):
        alone, together = step_of(samples, step, 1), step_of(samples, step, world_size)
        assert alone.keys() == together.keys()
        assert all(same(alone[group], together[group]) for group in alone)


def test_ranks_compute_neighbouring_micro_batches(samples):
    """In accumulation step k, rank r of R computes micro-batch k R + r of the global batch."""
    numbers = [[micro_batches(samples, rank, 3)[item].group for item in range(4)] for rank in range(3)]
    assert numbers == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


@pytest.mark.parametrize("micro_batch_size", [1, 4, 24])
def test_the_samples_of_a_step_do_not_depend_on_the_micro_batch_size(samples, micro_batch_size):
    """Micro-batches of another size hold the same samples with the same masks (laws 1 and 2)."""
    for step in range(STEPS):
        expected = samples_of(step_of(samples, step, 1).values())
        assert samples_of(step_of(samples, step, 1, micro_batch_size=micro_batch_size).values()) == expected


def test_a_scheduled_fraction_is_a_function_of_the_step(samples):
    """Each step has the masks and counts of its own fraction, on any rank and after a resumption (laws 1 to 3)."""
    schedule = MaskingConfig(0.1, 0.5, 0.3, max_predictions=0)
    run = {"template": Template(), "seed": 7, "total_steps": STEPS}
    for step in range(1, STEPS + 1):
        constant = schedule.at((step - 1) / STEPS)
        fixed = MicroBatches(samples, BatchDivision(GLOBAL_BATCH, 4, 0, 1), constant, **run)
        expected = [fixed[item] for item in range((step - 1) * 6, step * 6)]
        assert {batch.totals["masked"] for batch in expected} == {sum(batch.counts["masked"] for batch in expected)}
        begun = {"first_sample": (step - 1) * GLOBAL_BATCH, "first_step": step}
        for rank in range(2):
            division = BatchDivision(GLOBAL_BATCH, 4, rank, 2)
            whole = MicroBatches(samples, division, schedule, **run)
            resumed = MicroBatches(samples, division, schedule, **run, **begun)
            for item in range(3):
                assert same(resumed[item], whole[(step - 1) * 3 + item])
                assert same(resumed[item], expected[2 * item + rank])


def test_epochs_are_complete(samples):
    """Twenty-five batches of 24 are twelve epochs of 50, and hold each sample once per epoch."""
    items = micro_batches(samples, micro_batch_size=24)
    keys = samples_of([items[step] for step in range(25)])
    assert sorted(keys) == [(epoch, row) for epoch in range(12) for row in range(NUM_SAMPLES)]


@pytest.mark.parametrize("world_size", [1, 3])
def test_the_denominators_count_the_global_batch(samples, world_size):
    """Every micro-batch states the masked tokens and samples of its whole step (law 3)."""
    for step in range(STEPS):
        batches = step_of(samples, step, world_size).values()
        assert {batch.totals["masked"] for batch in batches} == {sum(len(b.targets["positions"]) for b in batches)}
        assert {batch.totals["samples"] for batch in batches} == {GLOBAL_BATCH}


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing(samples, num_workers):
    """With any number of worker processes the loader yields the same batches in the same order as with none (law 1)."""
    items, wanted = micro_batches(samples, 1, 2), range(3, 20)
    config = DataConfig(samples.directory, num_workers, prefetch=2)
    loaded = list(make_loader(items, wanted, config, pin_memory=False))
    assert len(loaded) == len(wanted)
    assert all(same(batch, micro_batches(samples, 1, 2)[item]) for item, batch in zip(wanted, loaded, strict=True))


def test_a_resumed_run_sees_what_the_other_would_have_seen(samples):
    """A loader that starts at item k, or at the number of samples of the steps before, continues the sequence."""
    config = DataConfig(samples.directory, 0)
    items = micro_batches(samples)
    accumulation = items.division.accumulation
    whole = list(make_loader(items, range(STEPS * accumulation), config, pin_memory=False))
    for step in range(1, STEPS):
        rest = list(
            make_loader(micro_batches(samples), range(step * accumulation, len(whole)), config, pin_memory=False)
        )
        shifted = micro_batches(samples, first_sample=step * GLOBAL_BATCH)
        assert all(map(same, whole[step * accumulation :], rest))
        assert all(same(batch, shifted[item]) for item, batch in enumerate(rest))


def test_the_order_of_asking_does_not_matter(samples):
    """Items that are requested backwards, each computed anew, equal those requested forwards."""
    forwards, backwards = micro_batches(samples), micro_batches(samples)
    expected = [forwards[item] for item in range(36)]
    assert all(same(backwards[item], expected[item]) for item in reversed(range(36)))


def test_seeds_differ(samples):
    """Another seed gives other samples at the same step."""
    first, other = (micro_batches(samples, micro_batch_size=24, seed=seed)[0] for seed in (0, 1))
    assert set(first.sample_ids.tolist()) != set(other.sample_ids.tolist())


def test_a_dataset_smaller_than_a_batch_wraps_around(write_samples):
    """Seven samples fill a batch of 24 with three epochs and three samples of the fourth."""
    batch = micro_batches(write_samples(7), micro_batch_size=24)[0]
    assert np.bincount(batch.epochs).tolist() == [7, 7, 7, 3]


def test_loading_leaves_the_random_state_alone(samples):
    """Making and reading a loader draws nothing from the generator of initial weights and dropout."""
    before = torch.get_rng_state()
    list(make_loader(micro_batches(samples), range(3), DataConfig(samples.directory, 1), pin_memory=False))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_pickled_dataset_is_small_and_the_same(samples):
    """The object that is sent to a worker process contains no samples and yields the same batches."""
    items = micro_batches(samples)
    data = pickle.dumps(items)
    assert len(data) < 5000
    assert all(same(pickle.loads(data)[item], items[item]) for item in (0, 13))


@pytest.mark.parametrize(
    ("sizes", "numbers", "remedy"),
    [
        ((100, 8, 4), "100: .*micro_batch_size = 8 x 4 ranks = 32", "micro_batch_size to 5, .* is 96 or 128"),
        ((64, 8, 6), "64: .*micro_batch_size = 8 x 6 ranks = 48", "the nearest batch.global_batch_size is 48 or 96"),
        ((8, 16, 2), "8: .*micro_batch_size = 16 x 2 ranks = 32", "micro_batch_size to 4, .* is 32"),
    ],
)
def test_a_batch_that_does_not_divide_is_refused(sizes, numbers, remedy):
    """A batch size that does not divide is an error with all the numbers and the nearest valid ones."""
    global_batch_size, micro_batch_size, world_size = sizes
    with pytest.raises(ValueError, match=f"global_batch_size = {numbers}; .*{remedy}"):
        BatchDivision(global_batch_size, micro_batch_size, 0, world_size)


@pytest.mark.parametrize(("global_batch_size", "micro_batch_size"), [(0, 1), (8, 0), (8, -2)])
def test_sizes_are_positive(global_batch_size, micro_batch_size):
    """A size below 1 is an error with both values."""
    message = r"batch.(global|micro)_batch_size = (0|-2): must be at least 1"
    with pytest.raises(ValueError, match=message):
        BatchDivision(global_batch_size, micro_batch_size, 0, 1)


def test_an_empty_dataset_is_refused(write_samples):
    """A split without samples is an error that names directory and split."""
    with pytest.raises(ValueError, match="split 'train' has no samples; build it from more text"):
        micro_batches(write_samples([], []))


@pytest.mark.parametrize("boundary", [0, 3])
def test_a_sample_without_a_segment_is_refused(write_samples, boundary):
    """A boundary at either end of the tokens is an error that names the sample."""
    broken = write_samples([[5, 6], [7, 8, 9]], [1, boundary])
    with pytest.raises(ValueError, match=f"sample 1 has 3 tokens and boundary {boundary}, but each segment needs"):
        micro_batches(broken)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_shard_that_is_cut_short_is_one_error(write_samples, num_workers):
    """A truncated shard is a one-line error both in the training process, where reading it would raise SIGBUS, and in a
    worker.
    """
    samples = write_samples(2000)
    batches, config = micro_batches(samples), DataConfig(samples.directory, num_workers)
    shard = samples.directory / samples.shards[0].path
    whole = shard.stat().st_size
    os.truncate(shard, 4096)
    with pytest.raises(ValueError, match=rf"{shard.name}: has 4096 bytes, {whole} when it was opened") as caught:
        list(make_loader(batches, range(3), config, pin_memory=False))
    assert "\n" not in str(caught.value)


def test_a_shard_that_was_removed_can_still_be_read(write_samples):
    """A shard that was removed while it is mapped can still be read."""
    samples = write_samples(NUM_SAMPLES)
    (samples.directory / samples.shards[0].path).unlink()
    assert len(list(make_loader(micro_batches(samples), range(3), DataConfig(samples.directory, 0), False))) == 3


@pytest.mark.parametrize(("field", "value"), [("num_workers", -1), ("prefetch", 0)])
def test_a_wrong_field_is_named(field, value):
    """A value out of range is an error with the field and its value."""
    with pytest.raises(ValueError, match=f"data.{field} = {value}: must be"):
        DataConfig(Path("samples"), **{field: value})
