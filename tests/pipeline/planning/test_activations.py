"""The formula of what autograd keeps equals what autograd says it saved."""

import sys
from dataclasses import replace

import pytest
import torch

from benchmarks.batches import make_batch
from pipeline.families.bert import BertConfig, build
from pipeline.kernels.attention import backend
from pipeline.model.encoder import Layer
from pipeline.planning.activations import ATTENTION, INDEX, MicroBatch, activations

CPU, VOCAB = torch.device("cpu"), 1000
CONFIG = BertConfig(64, 2, 4, 256)
LENGTHS = {
    "uniform": [32] * 4,
    "mixed": [32, 20, 60, 57, 28],
    "a bucket of one sequence": [32, 17, 40, 5],
    "one sequence": [33],
}


def saved_bytes(forward, parameters):
    """Bytes of the storages that autograd saves in `forward`, each once, without the weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    seen, alive = {}, []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = forward()
    del output
    return sum(seen.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_layer_equals_what_autograd_saves(lengths, dropout, dtype):
    """To the byte; where tokens are copied to slots, all layers share the indices."""
    check_layer(replace(CONFIG, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout), lengths, dtype)


@pytest.mark.parametrize("kernels", ["plain", "triton"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_layer_with_other_kernels_equals_what_autograd_saves(kernels, recompute, dropout):
    """Likewise; Triton's are interpreted."""
    config = replace(CONFIG, kernels=kernels, recompute_activation=recompute, attention_probs_dropout_prob=0.0)
    check_layer(replace(config, hidden_dropout_prob=dropout), LENGTHS["uniform"], torch.bfloat16)


def check_layer(config, lengths, dtype):
    layer = Layer(config).to(dtype).train()
    hidden = torch.randn(sum(lengths), config.hidden_size, dtype=dtype, requires_grad=True)
    bounds = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    batch = MicroBatch.of(lengths, 1, "cpu")
    indices = INDEX * (batch.slots + batch.tokens) if len(set(lengths)) > 1 else 0
    formula = activations(config, VOCAB, batch, dtype, CPU).layer + indices
    assert saved_bytes(lambda: layer(hidden, bounds, max(lengths)), layer.parameters()) == formula


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_model_equals_what_autograd_saves(lengths, dropout):
    """Embeddings, layers, heads, logits and the batch itself, to the byte."""
    config = replace(CONFIG, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    model, batch = build(config, VOCAB).train(), make_batch(lengths, VOCAB, 0)
    kept = activations(config, VOCAB, MicroBatch.of(lengths, len(batch.targets["labels"]), "cpu"), torch.float32, CPU)
    formula = kept.embeddings + config.num_hidden_layers * kept.layer + kept.head + kept.logits.kept
    assert saved_bytes(lambda: model(batch), model.parameters()) == formula


@pytest.mark.parametrize(("kernels", "mib"), [("triton", 1024), ("plain", 1), ("triton", 1)])
def test_logits_equal_what_autograd_saves(kernels, mib):
    """Kept once where they fit and not at all where they do not; to the byte."""
    vocab = 1000 * 512  # 2 MB a row
    config = replace(CONFIG, num_hidden_layers=1, kernels=kernels, max_logits_mib=mib)
    model, batch = build(config, vocab).train(), make_batch([8, 8], vocab, 0)
    kept = activations(config, vocab, MicroBatch.uniform(2, 8, 1), torch.float32, CPU)
    formula = kept.embeddings + kept.layer + kept.head + kept.logits.kept
    assert saved_bytes(lambda: model(batch), model.parameters()) == formula
    assert kept.logits.chunked == (mib == 1) and (kept.logits.kept == 0) == (mib == 1)


def test_checkpointing_keeps_each_layers_input():
    """The allocator counts what checkpointing holds outside autograd; only the generator's state is left out."""
    config = replace(CONFIG, num_hidden_layers=6, activation_checkpointing=True)
    model, batch = build(config, VOCAB).train(), make_batch([128] * 16, VOCAB, 0)
    kept = activations(
        config, VOCAB, MicroBatch.uniform(16, 128, len(batch.targets["labels"]) // 16), torch.float32, CPU
    )
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        output = model(batch)
    events = profile.profiler.kineto_results.events()
    allocated = sum(event.nbytes() for event in events if event.name() == "[memory]")
    outside = sum(t.nbytes for t in (batch.input_ids, batch.segment_ids, batch.position_ids))
    formula = kept.embeddings - outside + 6 * kept.layer_input + kept.head + kept.logits.kept
    assert allocated == pytest.approx(formula, rel=0.01)
    assert output.loss.requires_grad


def test_every_backend_has_coefficients_and_fused_attention_keeps_no_pairs(monkeypatch):
    """Twice the length at equal tokens costs nothing more where the probabilities are not kept."""
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    cuda = torch.device("cuda")
    for dropout, name in ((0.0, "varlen"), (0.1, "padded")):
        config = replace(CONFIG, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
        assert backend(cuda, torch.bfloat16, dropout) == name in ATTENTION
        short, long = (
            activations(config, VOCAB, MicroBatch.uniform(n, length, 1), torch.bfloat16, cuda).layer
            for n, length in ((8, 64), (4, 128))
        )
        assert short == long


def test_padding_of_mixed_lengths():
    """On a CPU by size class, elsewhere all to the longest."""
    cpu, cuda = (MicroBatch.of([10, 12, 60], 3, kind) for kind in ("cpu", "cuda"))
    assert (cpu.tokens, cpu.slots, cpu.pairs) == (82, 24 + 60, 2 * 12**2 + 60**2)
    assert (cuda.tokens, cuda.slots, cuda.pairs) == (82, 180, 3 * 60**2)
