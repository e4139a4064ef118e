"""Laws of pipeline/engine/graphs.py with a stand-in for the capture, which repeats a module on fixed tensors."""

from dataclasses import replace

import pytest
import torch

from pipeline.data.batch import padded
from pipeline.engine import graphs
from pipeline.engine.graphs import Graphs, obstacle
from pipeline.families import electra
from pipeline.families.bert import BertConfig, build
from pipeline.families.electra import ElectraConfig
from pipeline.model.probe import uniform_batch

CONFIG = BertConfig(16, 2, 2, 32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attention="plain")
VOCABULARY, PAD, LONGEST, MULTIPLE = 40, 0, 12, 32


def batch_of(samples, length, masked, seed=0, longest=LONGEST):
    """Return a batch of random tokens, padded to a fixed shape; `longest` = 0: without padding."""
    generator = torch.Generator().manual_seed(seed)
    batch = uniform_batch(samples, length, masked)
    batch.input_ids.random_(1, VOCABULARY, generator=generator)
    batch.position_ids.copy_(torch.arange(length).repeat(samples))
    batch.targets["labels"].random_(1, VOCABULARY, generator=generator)
    batch.targets["positions"].copy_(torch.randperm(samples * length, generator=generator)[: samples * masked])
    batch.targets["pair"].random_(2, generator=generator)
    batch.targets["uniform"].uniform_(generator=generator)
    batch = replace(batch, totals={name: 3 * value for name, value in batch.counts.items()})
    return padded(batch, MULTIPLE, PAD, longest) if longest else batch


class Recorded:
    """Counts captures; a graph copies its inputs, computes on its own tensors, and overwrites its last outputs."""

    def __init__(self):
        self.captures = 0

    def __call__(self, module, inputs):
        self.captures += 1
        fixed, outputs = [value.clone() for value in inputs], []
        module(*fixed)

        def graph(*tensors):
            for own, value in zip(fixed, tensors, strict=True):
                assert own.shape == value.shape
                own.copy_(value)
            for old in outputs:
                old.data.fill_(-1)
            outputs[:] = module(*fixed)
            return tuple(outputs)

        return graph


def model_of(seed=0):
    torch.manual_seed(seed)
    return build(CONFIG, VOCABULARY)


def passes(model, batches):
    """Return the outputs and the sum of the gradients of all batches."""
    outputs = []
    for batch in batches:
        outputs.append(model(batch))
        outputs[-1].loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return [
        (each.loss.item(), {name: value.item() for name, value in each.sums.items()}) for each in outputs
    ], gradients


@pytest.mark.parametrize(("samples", "length", "masked"), [(3, 10, 2), (2, 12, 3), (3, 7, 2)])
def test_padding_to_a_fixed_shape_has_no_effect(samples, length, masked):
    """Losses, counts and gradients of the padded micro-batch are those of the micro-batch itself (law 3)."""
    results = [passes(model_of(), [batch_of(samples, length, masked, longest=longest)]) for longest in (0, LONGEST)]
    (((loss, sums),), gradients), (((padded_loss, padded_sums),), padded_gradients) = results
    assert padded_loss == pytest.approx(loss, rel=1e-6) and padded_sums == pytest.approx(sums, rel=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(padded_gradients[name], gradient, rtol=1e-4, atol=1e-7)


def test_graphs_compute_what_single_launches_do():
    """Outputs and gradients are equal bit for bit over micro-batches of three shapes, with one capture for each."""
    batches = [batch_of(3, 10, 2, seed) for seed in range(3)]
    batches += [batch_of(2, 5, 2, 3), batch_of(3, 12, 2, 4), batch_of(3, 9, 2, 5)]
    expected, model, capture = passes(model_of(), batches), model_of(), Recorded()
    Graphs(model, capture).install()
    outputs, gradients = passes(model, batches)
    assert outputs == expected[0] and capture.captures == 3
    assert all(torch.equal(gradient, expected[1][name]) for name, gradient in gradients.items())


def test_one_graph_of_electra_serves_batches_of_different_counts():
    """A graph of replaced tokens computes losses, hits and gradients of the batches without padding, although their
    numbers of tokens and of masked tokens differ from those of its capture (law 3).
    """
    config = ElectraConfig(16, 2, 2, 32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attention="plain")
    config = replace(config, embedding_size=8, generator_fraction=0.5, initializer_range=0.3)
    models, capture = [], Recorded()
    for _ in range(2):
        torch.manual_seed(0)
        models.append(electra.build(config, VOCABULARY))
    Graphs(models[1], capture).install()
    sizes = ((2, 10, 1), (2, 12, 2), (2, 11, 1))
    results = [
        passes(model, [batch_of(*size, seed, longest) for seed, size in enumerate(sizes)])
        for model, longest in zip(models, (0, LONGEST), strict=True)
    ]
    (plain, gradients), (captured, padded_gradients) = results
    assert capture.captures == 1
    for (loss, sums), (padded_loss, padded_sums) in zip(plain, captured, strict=True):
        assert padded_loss == pytest.approx(loss, rel=1e-6) and padded_sums == pytest.approx(sums, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(padded_gradients[name], gradient, rtol=1e-4, atol=1e-5)


def test_counts_of_the_global_batch_are_inputs():
    """A micro-batch of another global batch is divided by its own counts, not by those of the capture."""
    model = model_of()
    Graphs(model, Recorded()).install()
    batch = batch_of(3, 10, 2)
    other = replace(batch, totals={name: 10 * value for name, value in batch.totals.items()})
    assert model(other).loss.item() == pytest.approx(model(batch).loss.item() / 10, rel=1e-6)


def test_outputs_outlive_the_next_launch():
    """The loop reads losses after later micro-batches have been launched."""
    model = model_of()
    Graphs(model, Recorded()).install()
    first = model(batch_of(3, 10, 2, 0))
    before = first.loss.item()
    model(batch_of(3, 10, 2, 1))
    assert first.loss.item() == before > 0 and all(value >= 0 for value in first.sums.values())
    assert not any(value.requires_grad for value in first.sums.values())


def test_evaluations_and_further_shapes_use_no_graph(monkeypatch):
    """Nothing is captured without gradients, in evaluation mode, or for more shapes than have a graph."""
    monkeypatch.setattr(graphs, "MOST_SHAPES", 1)
    model, capture = model_of(), Recorded()
    Graphs(model, capture).install()
    with torch.no_grad():
        model(batch_of(3, 10, 2))
    model.eval()(batch_of(3, 10, 2))
    assert capture.captures == 0
    model.train()
    for length in (10, 10, 2):
        model(batch_of(3, length, 2)).loss.backward()
    assert capture.captures == 1


CUDA = {"device": torch.device("cuda"), "settings": {"zero_optimization": {"stage": 1}}, "precision": "bf16"}
CUDA |= {"fixed_shapes": True, "checkpointed_layers": 0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"device": torch.device("cpu")}, "the device is cpu"),
        ({"fixed_shapes": False}, "set data.fixed_shapes"),
        ({"checkpointed_layers": 1}, "activation checkpointing"),
        ({"settings": {"zero_optimization": {"stage": 3}}}, "ZeRO-3 gathers"),
        ({"settings": {"zero_optimization": {"stage": 2, "overlap_comm": True}}}, "overlap_comm"),
        ({"settings": {"zero_optimization": {"stage": 2, "overlap_comm": False}}}, ""),
        ({"precision": "fp32"}, "gradients in fp32"),
        ({"settings": {"torch_autocast": {"enabled": True}}}, "autocast"),
    ],
)
def test_an_obstacle_is_named(change, reason):
    """The reason says what to change, and is empty where graphs can be used."""
    found = obstacle(**CUDA | change)
    assert reason in found and bool(reason) == bool(found)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="requires a GPU")
def test_captured_graphs_equal_single_launches_with_dropout():
    """On a GPU, gradients have the bits of single launches, masks of dropout included, for two shapes in turn."""
    config = replace(CONFIG, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1, attention="auto")
    batches = [batch_of(3, length, 2, seed).to("cuda") for seed, length in enumerate((10, 3, 10, 3))]
    found = []
    for is_graph in (False, True):
        torch.manual_seed(0)
        model = build(config, VOCABULARY).to("cuda", torch.bfloat16)
        if is_graph:
            Graphs(model).install()
        gradients = []
        for seed, batch in enumerate(batches):
            torch.manual_seed(seed)
            output = model(batch)
            output.loss.backward()
            gradients.append([output.loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
            model.zero_grad()
        found.append(gradients)
    for launched, captured in zip(*found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(launched, captured, strict=True))
