"""Samples on which a run cannot train are errors before the run begins."""

import numpy as np
import pytest
import torch
from recipes import write_recipe
from samples import make_samples

from pipeline.config import parse
from pipeline.data.loader import BatchDivision
from pipeline.jobs import samples as module
from pipeline.jobs.samples import (
    data_schedule,
    divide,
    heldout_samples,
    open_earlier,
    open_samples,
    samples_id,
    training_batches,
    training_words,
)
from pipeline.runtime import distributed
from pipeline.runtime.recipes import SHIPPED
from pipeline.runtime.signals import StopSignals
from pipeline.training.state import TrainState
from preprocessing.shards import SampleDataset


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples")


def recipe_of(folder, samples, **replacements):
    return parse(["--recipe", str(write_recipe(folder, samples, **replacements))])


def test_both_splits_are_opened_and_identified(tmp_path, samples):
    """Both splits are opened, and the checksum of the manifest identifies them."""
    train, heldout = open_samples(recipe_of(tmp_path, samples), StopSignals())
    assert (len(train), len(heldout)) == (256, 14)
    assert samples_id(train) == samples_id(heldout) and len(samples_id(train)) == 64


def test_a_model_with_too_few_positions(tmp_path, samples):
    """The error for a model with too few positions states how many it needs."""
    recipe = recipe_of(tmp_path, samples, max_position_embeddings=31)
    with pytest.raises(ValueError, match=r"model.max_position_embeddings is 31; raise it to 32"):
        open_samples(recipe, StopSignals())


def test_samples_of_another_objective(tmp_path):
    """The error for samples of another objective names the option that builds the right ones."""
    blocks = make_samples(tmp_path / "samples", train=4, heldout=2, segments="blocks")
    remedy = "build them with --segments nsp, or set model.next_sentence = false"
    with pytest.raises(ValueError, match=rf"holds blocks samples, but family bert trains on nsp with .*; {remedy}"):
        open_samples(recipe_of(tmp_path, blocks), StopSignals())
    arguments = ["--recipe", str(write_recipe(tmp_path, blocks)), "--model.next_sentence", "false"]
    assert len(open_samples(parse(arguments), StopSignals())[0]) == 4


def test_damaged_samples_are_refused_unless_a_stop_is_requested(tmp_path):
    """Damaged samples are refused; a run that is asked to stop does not read the checksums of all shards first."""
    damaged, signals = make_samples(tmp_path / "samples"), StopSignals()
    shard = damaged / "train-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1  # a bit of a token
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"train-00000.arrow"):
        open_samples(recipe_of(tmp_path, damaged), signals)
    signals.received = 15
    open_samples(recipe_of(tmp_path, damaged), signals)


@pytest.fixture(scope="module")
def shorter(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("shorter") / "samples", train=64, max_seq_length=16, seed=1)


def scheduled(folder, samples, shorter, *options):
    """Return a recipe with all schedules: two sizes of batches on short samples, then the final size on long ones."""
    schedules = [
        "--data.earlier_samples",
        f'["{shorter}"]',
        "--data.until",
        "[0.6]",
        "--batch.scale_with_length",
        "true",
    ]
    schedules += ["--batch.global_batch_size_start", "12", "--batch.growth_proportion", "0.5"]
    schedules += ["--masking.probability_start", "0.4", "--masking.max_predictions", "0"]
    return parse(["--recipe", str(write_recipe(folder, samples)), *schedules, *options])


def batches_of_ranks(recipe, world_size, step=0):
    """Return the remaining micro-batches of all ranks as (samples directory's length, step's totals, number, rows)."""
    train, _ = open_samples(recipe, StopSignals())
    datasets = (*open_earlier(recipe, train, StopSignals()), train)
    schedule = data_schedule(recipe, [dataset.manifest for dataset in datasets])
    found = []
    for rank in range(world_size):
        division = BatchDivision(24, recipe.batch.micro_batch_size, rank, world_size)
        state = TrainState(step, schedule.consumed(step))
        batches = training_batches(recipe, division, schedule, datasets, state, torch.device("cpu"))
        found += [(b.totals["samples"], b.totals["masked"], b.group, b.input_ids.tolist()) for b in batches]
    return found


def test_scheduled_batches_are_functions_of_the_step(tmp_path, samples, shorter):
    """No rank, number of ranks or resumption changes a micro-batch (laws 1, 2 and 5)."""
    recipe = scheduled(tmp_path, samples, shorter)
    whole = batches_of_ranks(recipe, 1)
    # 8 steps: 12 samples, doubled for their length, until the batch grows after 4 steps, and long samples after 5.
    assert [size for size, *_ in whole] == [24] * 3 * 4 + [48] * 6 + [24] * 6 * 3
    assert all(len(tokens) <= 8 * 16 for *_, tokens in whole[:18])
    assert all(len(tokens) > 4 * 16 for *_, tokens in whole[18:])
    assert sorted(batches_of_ranks(recipe, 3)) == sorted(whole)
    for step, done in ((2, 6), (4, 12), (5, 18), (7, 30)):
        assert batches_of_ranks(recipe, 1, step) == whole[done:]
    assert batches_of_ranks(recipe, 1, 8) == []


def test_the_samples_of_scheduled_steps_do_not_depend_on_the_micro_batch(tmp_path, samples, shorter):
    """The samples of a step follow from the recipe's batch sizes alone (law 2)."""
    totals = [
        {(size, masked): None for size, masked, *_ in batches_of_ranks(recipe, 1)}
        for recipe in (scheduled(tmp_path, samples, shorter, "--batch.micro_batch_size", size) for size in ("4", "12"))
    ]
    assert list(totals[0]) == list(totals[1])


def test_earlier_samples_of_another_vocabulary(tmp_path, samples):
    """Earlier samples with another vocabulary are an error that names both directories."""
    other = make_samples(tmp_path / "other", train=8, heldout=2, vocab_size=100)
    recipe = scheduled(tmp_path, samples, other)
    train, _ = open_samples(recipe, StopSignals())
    with pytest.raises(
        ValueError, match=r"earlier_samples: .*other has another tokenizer than data.samples = .*--vocab"
    ):
        open_earlier(recipe, train, StopSignals())


def test_earlier_samples_identify_a_run(samples, shorter):
    """The order of the earlier directories is part of a run's identity, which is unchanged without
    earlier directories.
    """
    first, second = (SampleDataset.open(directory, "train") for directory in (samples, shorter))
    assert len({samples_id(first), samples_id(first, [second]), samples_id(second, [first])}) == 3


def test_a_first_batch_that_does_not_divide(tmp_path, samples, shorter):
    """The error for a first batch that does not divide names its field and the remedy that keeps the samples."""
    recipe = scheduled(tmp_path, samples, shorter, "--batch.micro_batch_size", "8")
    with pytest.raises(
        ValueError, match=r"batch.global_batch_size_start = 12: must be .* set batch.micro_batch_size to 6"
    ):
        divide(recipe)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_shipped_recipe_divides_on_one_and_two_ranks(monkeypatch, path, ranks):
    """A shipped recipe trains on one rank and, without another option, on two, the fastest way on two cores."""
    monkeypatch.setattr(distributed, "world_size", lambda: ranks)
    division = divide(parse(["--recipe", str(path)]))
    assert division.accumulation * ranks * division.micro_batch_size == division.global_batch_size


def test_the_remaining_batches_follow_the_consumed_samples(tmp_path, samples):
    """After three of eight steps, the remaining batches are those of the last five steps."""
    recipe = recipe_of(tmp_path, samples)
    train, _ = open_samples(recipe, StopSignals())
    division, device = BatchDivision(24, 4, 0, 1), torch.device("cpu")
    run = recipe, division, data_schedule(recipe, [train.manifest]), (train,)
    whole = [*training_batches(*run, TrainState(), device)]
    rest = [*training_batches(*run, TrainState(step=3, consumed_samples=72), device)]
    assert len(whole) == 8 * 6
    assert [b.sample_ids.tolist() for b in rest] == [b.sample_ids.tolist() for b in whole[3 * 6 :]]


def test_a_bounded_number_of_training_samples_is_read(samples, monkeypatch):
    """A bounded number of training samples is read from the beginning of a fixed random order."""
    train = SampleDataset.open(samples, "train")
    whole = training_words(train)
    monkeypatch.setattr(module, "TRAINING_SAMPLES", 10)
    assert [part.tolist() for part in training_words(train)] == [part.tolist() for part in whole[:10]]
    assert len(whole) == 256 and whole[0].tolist() != train.tokens(np.array([0]))[0].tolist()


@pytest.mark.parametrize(
    ("samples", "gap", "available", "expected"),
    [(100, 20, 40, (40, 20, 20)), (100, 60, 40, (40, 40, 40)), (10, 20, 40, (10, 10, 10)), (10, 0, 40, (10,))],
)
def test_the_passes_of_an_evaluation(tmp_path, samples, gap, available, expected):
    """The order gap takes two passes, over at most as many samples as are evaluated."""
    options = ["--evaluation.samples", str(samples), "--evaluation.order_gap_samples", str(gap)]
    recipe = parse(["--recipe", str(write_recipe(tmp_path, tmp_path / "samples")), *options])
    assert heldout_samples(recipe, available) == expected
