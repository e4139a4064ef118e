"""FLOPs that torch counts on the model equal those that a formula gives for BERT."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.families.bert import BertConfig, build
from pipeline.kernels import backends
from pipeline.model import flops

VOCAB = 1000
CONFIG = BertConfig(64, 3, 4, 256)


def measured(config, vocab_size=VOCAB):
    return flops.measure(lambda shape: build(shape, vocab_size), config)


def formula(config, vocab_size):
    """Return the costs of a token, of a pair of tokens of one sample, of a masked token and of a sample.

    A product of (a, b) and (b, c) takes 2abc operations, and its backward pass twice as many.
    """
    hidden, layers = config.hidden_size, config.num_hidden_layers
    return flops.Flops(
        per_token=3.0 * layers * (8 * hidden**2 + 4 * hidden * config.intermediate_size),
        per_pair=3.0 * layers * 4 * hidden,
        per_masked=3.0 * (2 * hidden**2 + 2 * hidden * vocab_size),
        per_sample=3.0 * (2 * hidden**2 + 2 * hidden * 2),  # the pooler and the two classes of a pair
    )


LARGE = BertConfig(1024, 24, 16, 4096)


@pytest.mark.parametrize(
    "config",
    [pytest.param(LARGE, marks=pytest.mark.slow), BertConfig(256, 24, 4, 1024)],
    ids=lambda config: config.hidden_size,
)
def test_costs_equal_the_formulas(config):
    """Costs equal the formulas exactly; attention costs 4 H per layer and pair of tokens in the forward pass."""
    assert measured(config) == formula(config, VOCAB)


def test_bert_large():
    """A sample of 128 tokens, 20 of them masked, takes 240.64e9 FLOP."""
    cost = formula(LARGE, 30_528)
    sample = cost.flops(num_tokens=128, sum_squared_lengths=128**2, num_masked=20, num_samples=1)
    assert sample == cost.of_samples([128], 20) == 240_643_485_696


@pytest.mark.parametrize(
    "change",
    [
        {"activation_checkpointing": True},
        {"max_logits_mib": 1},
        {"recompute_activation": True},
        {"kernels": "triton"},
        {"attention": "triton"},
    ],
    ids=str,
)
def test_recomputation_and_kernels_count_nothing(change):
    """Recomputation does not count as work, and the choice of kernels does not change the count."""
    vocab_size = 300_000 if "max_logits_mib" in change else VOCAB  # of which a row of logits takes more than 1 MiB
    assert measured(replace(CONFIG, **change), vocab_size) == formula(CONFIG, vocab_size)


def test_pairs_of_local_attention():
    """The pairs of tokens that are near each other are counted one by one, and their operations added to the others."""
    lengths, window = [1, 2, 9, 40], 8
    places = [np.arange(length) for length in lengths]
    pairs = sum(int((abs(at[:, None] - at) <= window).sum()) for at in places)
    assert flops.near_pairs(np.array(lengths, float), window).sum() == pairs
    cost = flops.Flops(1.0, 100.0, 0.0, 1e4, per_near_pair=1e6, window=window)
    squares = sum(length**2 for length in lengths)
    assert cost.of_samples(lengths, 0) == 52 + 100 * squares + 4e4 + 1e6 * pairs
    assert replace(cost, window=None).of_samples(lengths, 0) == 52 + 100 * squares + 4e4


class Toy(nn.Module):
    """A model outside the families: products with each token and, once in a batch, with a table."""

    def __init__(self, config):
        super().__init__()
        width = config.hidden_size
        self.table = nn.Parameter(torch.zeros(100, width))
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(config.num_hidden_layers))

    def forward(self, batch):
        rows = batch.input_ids[:, None].to(torch.float32).expand(-1, len(self.table[0])) + self.table.sum(0)
        for layer in self.layers:
            rows = layer(rows)
        return SimpleNamespace(loss=rows.sum() + (self.table @ self.table.t()).sum())


def test_a_model_of_its_own_needs_no_formula():
    """FLOPs of a batch that do not depend on its size are not attributed to samples."""
    assert flops.measure(Toy, CONFIG) == flops.Flops(3.0 * 3 * 2 * 64**2, 0.0, 0.0, 0.0)


def test_products_on_the_meta_device_have_their_own_type():
    """Counting on the meta device, which has no autocast, multiplies in the type of the tensors."""
    assert backends.compute_dtype(torch.empty(1, dtype=torch.bfloat16, device="meta")) == torch.bfloat16
