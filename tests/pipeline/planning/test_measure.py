"""Bytes measured on the meta device equal those of the tensors that autograd saves."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pipeline.families.bert import BertConfig, build
from pipeline.losses import projection
from pipeline.model.probe import uniform_batch
from pipeline.planning.measure import MicroBatch, activations, measure

VOCAB = 1000
CONFIG = BertConfig(64, 2, 4, 256)
SIZES = MicroBatch(4, 32, 5)
"""Four samples of 32 tokens, 5 of them masked."""


def of(config=CONFIG, vocab_size=VOCAB, sizes=SIZES, dtype=torch.float32, kind="cpu"):
    return activations(build, config, vocab_size, sizes, dtype, kind)


def saved_bytes(model, batch):
    """Return the bytes of the storages that autograd saves in a forward pass on the CPU, each once, without the
    weights.
    """
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    seen, alive = {}, []
    projection._spare.clear()  # a buffer of an earlier test may be larger

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(batch)
    del output
    return sum(seen.values())


VARIANTS = [
    {},
    {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    {"recompute_activation": True},
    {"kernels": "triton"},
    {"kernels": "triton", "recompute_activation": True, "hidden_dropout_prob": 0.0},
]


@pytest.mark.parametrize("change", VARIANTS, ids=str)
def test_kept_equals_what_autograd_saves(change):
    """The bytes of embeddings, layers, heads and logits equal those saved; the loss, the counts of labels and the
    batch's numbers for sampling, which BERT does not read, add a few.
    """
    config = replace(CONFIG, **change)
    model = build(config, VOCAB).train()
    found = measure(build, config, VOCAB, SIZES, torch.float32, "cpu").kept
    saved, numbers = saved_bytes(model, uniform_batch(*SIZES)), SIZES.samples * SIZES.masked * 4
    assert saved <= found - numbers <= saved + 16


def test_the_parts_add_up_for_any_micro_batch_and_number_of_layers():
    """Parts that were measured on one and two layers and on 64 samples add up for other numbers."""
    config = replace(CONFIG, num_hidden_layers=5)
    parts = of(config, sizes=MicroBatch(37, 32, 5))
    kept = measure(build, config, VOCAB, MicroBatch(37, 32, 5), torch.float32, "cpu").kept
    assert parts.ends + 5 * parts.layer + parts.logits == pytest.approx(kept, rel=1e-3)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_gpus_keep_no_pairs_of_tokens(dropout):
    """On GPUs, sequences of twice the length at equal tokens keep no more bytes, whichever fused attention is used."""
    config = replace(CONFIG, attention_probs_dropout_prob=dropout)
    short, long = (
        of(config, sizes=sizes, dtype=torch.bfloat16, kind="cuda").layer
        for sizes in (MicroBatch(8, 64, 1), MicroBatch(4, 128, 1))
    )
    assert long == pytest.approx(short, rel=0.01)
    assert of(config, sizes=MicroBatch(4, 128, 1)).layer > 1.1 * of(config, sizes=MicroBatch(8, 64, 1)).layer


def test_flash_attn_need_not_be_installed():
    """The machine that plans need not be the one that trains; the project's kernels keep the same tensors."""
    auto, flash = (
        measure(build, replace(CONFIG, num_hidden_layers=1, attention=name), VOCAB, SIZES, torch.bfloat16, "cuda")
        for name in ("auto", "flash_attn")
    )
    assert auto == flash


def test_triton_kernels_keep_less():
    """Triton kernels keep fewer bytes, since masks are seeds and the sum of a layer normalisation is computed again."""
    fused, plain = (of(replace(CONFIG, kernels=k), dtype=torch.bfloat16, kind="cuda").layer for k in ("auto", "plain"))
    assert fused < plain


def test_checkpointing_keeps_each_layers_input():
    """With activation checkpointing, a layer keeps its input (T, H) in the type of the weights, and with Triton kernels
    up to three seeds of 8 bytes.
    """
    tokens = SIZES[0] * SIZES[1]
    assert of().layer_input == tokens * 64 * 4
    assert 0 <= of(dtype=torch.bfloat16, kind="cuda").layer_input - tokens * 64 * 2 <= 3 * 8


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_bounded_logits_are_not_kept(kind):
    """Bounded logits are not kept; the backward pass takes them, their gradient and the weights' sum in fp32."""
    kept, bounded = (of(replace(CONFIG, max_logits_mib=m), 300_000, kind=kind) for m in (1024, 1))
    spare = 9 / 8 if kind == "cpu" else 1  # the buffer that serves all micro-batches
    assert kept.logits == pytest.approx(spare * SIZES[0] * SIZES[2] * 300_000 * 4, rel=0.01)
    assert bounded.logits < 0.01 * kept.logits
    assert bounded.ends == kept.ends and bounded.layer == kept.layer


def test_the_heads_backward_pass_takes_two_tensors_of_logits_size_at_most():
    """The backward pass of the heads takes the gradient of the logits beside that of the word embeddings, and no third
    tensor.
    """
    head, word = of().head, VOCAB * 64 * 4
    logits = SIZES[0] * SIZES[2] * VOCAB * 4
    assert word + logits <= head < 1.5 * (word + logits)


class Toy(nn.Module):
    """A model outside the families whose layers keep their input and a tanh."""

    def __init__(self, config, vocab_size):
        super().__init__()
        self.word = nn.Embedding(vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            nn.Linear(config.hidden_size, config.hidden_size) for _ in range(config.num_hidden_layers)
        )

    def forward(self, batch):
        rows = self.word(batch.input_ids)
        for layer in self.layers:
            rows = layer(rows).tanh()
        return SimpleNamespace(loss=rows.sum())


def test_a_model_of_its_own_needs_no_formula():
    """A layer of a model outside the families keeps one tensor of (T, H), its output, which is the next
    layer's input.
    """
    parts = activations(Toy, CONFIG, VOCAB, SIZES, torch.float32, "cuda")
    assert parts.layer == SIZES[0] * SIZES[1] * 64 * 4
    assert parts.logits < 16  # the loss and the ends of the samples, of which there are as many for 64 samples
