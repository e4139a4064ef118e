"""The initial model follows from recipe, seed and samples."""

import numpy as np
import pytest
import torch
from recipes import write_recipe
from samples import make_samples

from pipeline.config import parse
from pipeline.families.encoders import OUTPUT_BIAS
from pipeline.jobs.initial_model import build_model
from preprocessing.shards import SampleDataset


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples")


def model_of(folder, samples, *options):
    recipe = parse(["--recipe", str(write_recipe(folder, samples)), *options])
    return build_model(recipe, SampleDataset.open(samples, "train"))


def test_the_seed_decides_the_weights(tmp_path, samples):
    """The same seed gives the same weights, and another seed gives others."""
    first, same, other = (dict(model_of(tmp_path, samples, "--seed", s).named_parameters()) for s in ("1", "1", "2"))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["encoder.embeddings.word.weight"], other["encoder.embeddings.word.weight"])


def test_a_frequency_bias_predicts_the_frequencies(tmp_path, samples):
    """A frequency bias changes only the bias of the logits, whose probabilities are the shares of the tokens with 1
    added to each count.
    """
    usual = dict(model_of(tmp_path, samples).named_parameters())
    frequent = dict(model_of(tmp_path, samples, "--model.output_bias", "frequencies").named_parameters())
    assert {name for name in usual if not torch.equal(usual[name], frequent[name])} == {OUTPUT_BIAS}
    assert not usual[OUTPUT_BIAS].any()
    train = SampleDataset.open(samples, "train")  # fewer samples than are counted at most
    counts = np.bincount(np.concatenate(train.tokens(np.arange(len(train)))), minlength=train.manifest.vocab_size) + 1.0
    expected = torch.from_numpy(counts / counts.sum()).float()
    torch.testing.assert_close(frequent[OUTPUT_BIAS].detach().softmax(0), expected)
    assert abs(float(frequent[OUTPUT_BIAS].detach().mean())) < 1e-5
