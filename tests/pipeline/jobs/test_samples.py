"""Samples that a run cannot train on are errors before it begins."""

import pytest
import torch
from recipes import write_recipe
from samples import make_samples

from pipeline.config import parse
from pipeline.data.loader import BatchDivision
from pipeline.jobs.samples import open_samples, samples_id, training_batches
from pipeline.runtime.signals import StopSignals
from pipeline.training.trainer import TrainState


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples")


def recipe_of(folder, samples, **replacements):
    return parse(["--recipe", str(write_recipe(folder, samples, **replacements))])


def test_both_splits_are_opened_and_identified(tmp_path, samples):
    """Their identity is the checksum of the manifest."""
    train, heldout = open_samples(recipe_of(tmp_path, samples), StopSignals())
    assert (len(train), len(heldout)) == (256, 40)
    assert samples_id(train) == samples_id(heldout) and len(samples_id(train)) == 64


def test_a_model_with_too_few_positions(tmp_path, samples):
    """The message says how many it needs."""
    recipe = recipe_of(tmp_path, samples, max_position_embeddings=31)
    with pytest.raises(ValueError, match=r"model.max_position_embeddings is 31; raise it to 32"):
        open_samples(recipe, StopSignals())


def test_samples_of_another_objective(tmp_path):
    """The message names the option that builds the right ones."""
    blocks = make_samples(tmp_path / "samples", train=4, heldout=2, segments="blocks")
    with pytest.raises(ValueError, match=r"holds blocks samples, but family bert trains on .*--segments nsp"):
        open_samples(recipe_of(tmp_path, blocks), StopSignals())


def test_damaged_samples_are_refused_unless_a_stop_is_requested(tmp_path):
    """A run that is to stop does not read the checksums of all shards first."""
    damaged, signals = make_samples(tmp_path / "samples"), StopSignals()
    shard = damaged / "train-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1  # a bit of a token
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"train-00000.arrow"):
        open_samples(recipe_of(tmp_path, damaged), signals)
    signals.received = 15
    open_samples(recipe_of(tmp_path, damaged), signals)


def test_the_remaining_batches_follow_the_consumed_samples(tmp_path, samples):
    """After three of eight steps the batches are those of the last five."""
    recipe = recipe_of(tmp_path, samples)
    train, _ = open_samples(recipe, StopSignals())
    division, device = BatchDivision(24, 4, 0, 1), torch.device("cpu")
    whole = [*training_batches(recipe, division, train, TrainState(), device)]
    rest = [*training_batches(recipe, division, train, TrainState(step=3, consumed_samples=72), device)]
    assert len(whole) == 8 * 6
    assert [b.sample_ids.tolist() for b in rest] == [b.sample_ids.tolist() for b in whole[3 * 6 :]]
