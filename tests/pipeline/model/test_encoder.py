"""Laws of pipeline/model/encoder.py. Equality with Hugging Face is tested in families/test_bert.py."""

from dataclasses import replace

import pytest
import torch
from traffic import Launches, Traffic

from pipeline.families.bert import BertConfig
from pipeline.families.bert import build as build_bert
from pipeline.kernels.dropout import draw_seeds
from pipeline.kernels.triton import gelu, residual_norm
from pipeline.model.encoder import Encoder, EncoderConfig, Layer
from pipeline.model.initialization import initialize_weights
from pipeline.model.probe import uniform_batch

CONFIG = EncoderConfig(hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=40)
VOCAB_SIZE = 50
LENGTHS = [7, 40, 3, 12]


def build(config=CONFIG, seed=0):
    torch.manual_seed(seed)
    encoder = Encoder(config, VOCAB_SIZE, 2)
    return encoder.apply(lambda module: initialize_weights(module, 0.2))  # large, so that differences show


def random_inputs(lengths=LENGTHS):
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(VOCAB_SIZE, (sum(lengths),), generator=generator)
    segments = torch.randint(2, (sum(lengths),), generator=generator)
    positions = torch.cat([torch.arange(length) for length in lengths])
    return input_ids, segments, positions, torch.tensor([0, *lengths]).cumsum(0).to(torch.int32), max(lengths)


def gradients(encoder, seed):
    torch.manual_seed(seed)
    out = encoder(*random_inputs())
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return [parameter.grad for parameter in encoder.parameters()]


def test_a_sequence_does_not_depend_on_its_neighbours():
    """A sequence has the same hidden states alone and packed with others."""
    encoder = build().eval()
    tokens, segments, positions, bounds, longest = random_inputs()
    packed = encoder(tokens, segments, positions, bounds, longest)
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        length = end - start
        own = (tensor[start:end] for tensor in (tokens, segments, positions))
        alone = encoder(*own, torch.tensor([0, length], dtype=torch.int32), length)
        torch.testing.assert_close(alone, packed[start:end], rtol=0, atol=1e-5)


def test_evaluation_is_deterministic_and_training_follows_the_seed():
    """Dropout acts in training only, and the same seed gives the same output bit for bit."""
    encoder = build()
    with torch.no_grad():
        torch.manual_seed(5)
        first, second = encoder(*random_inputs()), encoder(*random_inputs())
        torch.manual_seed(5)
        assert torch.equal(encoder(*random_inputs()), first)
        assert not torch.equal(first, second)
        encoder.eval()
        assert torch.equal(encoder(*random_inputs()), encoder(*random_inputs()))


@pytest.mark.parametrize("layers", [True, 1])
@pytest.mark.parametrize("kernels", ["plain", "triton"])
def test_activation_checkpointing_changes_no_bit_of_the_gradients(layers, kernels):
    """Recomputed layers repeat their dropout masks, so every gradient is the same."""
    config = replace(CONFIG, kernels=kernels)
    kept = gradients(build(config), seed=5)
    recomputed = gradients(build(replace(config, activation_checkpointing=layers)), seed=5)
    assert all(torch.equal(a, b) for a, b in zip(kept, recomputed, strict=True))


def test_the_seeds_of_all_layers_are_drawn_at_once(monkeypatch):
    """Three seeds for each layer are drawn by one call, and no kernel draws its own; without dropout none are drawn."""
    counts = []

    def drawing(count, device):
        counts.append(count)
        return draw_seeds(count, device)

    def drawing_alone(dropout_p, device):
        assert not dropout_p, "a kernel drew a seed"

    monkeypatch.setattr("pipeline.model.encoder.draw_seeds", drawing)
    monkeypatch.setattr("pipeline.kernels.triton.residual_norm.draw_seed", drawing_alone)
    monkeypatch.setattr("pipeline.kernels.attention.draw_seed", drawing_alone)
    encoder = build(replace(CONFIG, kernels="triton", attention="plain"))
    with torch.no_grad():
        encoder(*random_inputs())
        assert counts == [9]
        encoder.eval()(*random_inputs())
        assert counts == [9]


def test_layers_use_the_attention_that_the_recipe_names():
    """Its result is the same up to rounding; where it cannot be computed, the name is an error."""
    config = replace(CONFIG, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    expected = gradients(build(config), seed=5)
    for ours, theirs in zip(gradients(build(replace(config, attention="plain")), seed=5), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"model.attention = varlen: must be computed in fp16 or bf16 on cuda"):
        build(replace(config, attention="varlen"))(*random_inputs())


@pytest.mark.parametrize(("wanted", "layers"), [(False, 0), (0, 0), (1, 1), (2, 2), (3, 3), (True, 3)])
def test_activation_checkpointing_runs_the_first_layers_again(wanted, layers):
    """In the backward pass the given number of layers runs a second time; without a backward pass each
    layer runs once.
    """
    encoder = build(replace(CONFIG, activation_checkpointing=wanted))
    calls = []
    for number, layer in enumerate(encoder.layers):
        layer.qkv.register_forward_hook(lambda *_, number=number: calls.append(number))
    gradients(encoder, seed=5)
    assert calls == [0, 1, 2, *reversed(range(layers))]
    calls.clear()
    with torch.inference_mode():
        encoder.eval()(*random_inputs())
    assert calls == [0, 1, 2]


@pytest.mark.parametrize(("kernels", "recompute"), [("plain", True), ("triton", False), ("triton", True)])
@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new"])
def test_kernels_and_recomputation_change_only_rounding(kernels, recompute, hidden_act):
    """Without dropout, the gradients are those of separate operations in plain torch to rounding."""
    config = replace(CONFIG, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, hidden_act=hidden_act)
    expected = gradients(build(replace(config, kernels="plain")), seed=5)
    actual = gradients(build(replace(config, kernels=kernels, recompute_activation=recompute)), seed=5)
    for ours, theirs in zip(actual, expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max() + 1e-5


@pytest.mark.parametrize(("kernels", "recompute"), [("plain", True), ("triton", False)])
def test_products_in_fp8_are_the_same_in_all_kernels(kernels, recompute):
    """All four products of a layer are rounded, and every way of the feed-forward network rounds them alike."""
    config = EncoderConfig(32, 2, 2, 64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, kernels="plain")
    exact, rounded, other = (
        torch.cat([gradient.flatten() for gradient in gradients(build(changed), seed=5)])
        for changed in (
            config,
            replace(config, fp8="emulated"),
            replace(config, fp8="emulated", kernels=kernels, recompute_activation=recompute),
        )
    )
    assert (other - rounded).norm() <= 0.02 * rounded.norm() < (rounded - exact).norm() <= 0.2 * rounded.norm()


class Unseen(torch.autograd.Function):
    """Stands for attention, and moves no bytes."""

    @staticmethod
    def forward(ctx, qkv):
        return torch.empty_like(qkv[:, 0])

    @staticmethod
    def backward(ctx, grad):
        return grad[:, None].new_empty(len(grad), 3, *grad.shape[1:])


def accesses(config, tokens, monkeypatch):
    """Return the bytes that a layer moves in the forward and in the backward pass, without attention."""
    layer, traffic = Layer(config).bfloat16(), Traffic()
    layer.attention = lambda qkv, *_, **__: Unseen.apply(qkv)
    kernels = ((residual_norm, "forward_kernel", ()), (residual_norm, "backward_kernel", ()))
    for module, name, overwritten in (*kernels, (gelu, "backward_kernel", (0,))):
        monkeypatch.setattr(module, name, Launches(traffic, overwritten))
        monkeypatch.setattr(module, "PROGRAMS", 1)  # sums of programs do not grow with the tokens
    hidden = torch.zeros(tokens, config.hidden_size, dtype=torch.bfloat16, requires_grad=True)
    with traffic:
        out = layer(hidden, None, 0, [torch.zeros((), dtype=torch.int64)] * 3)
    forward, grad = traffic.bytes, torch.zeros_like(out)
    with traffic:
        out.backward(grad)
    return forward, traffic.bytes - forward


@pytest.mark.parametrize(
    ("change", "forward", "backward"),
    [({}, 30, 59), ({"hidden_dropout_prob": 0.0}, 30, 57), ({"recompute_activation": True}, 30, 63)],
)
def test_a_layer_moves_as_many_bytes_as_documented(monkeypatch, change, forward, backward):
    """With Triton kernels a layer accesses as many (T, H) tensors as docs/benchmarks.md states, without attention.

    There is no other sum of gradients than that for the bias of queries, keys and values. Two numbers per row, which a
    normalisation keeps in fp32, are the tolerance.
    """
    config = EncoderConfig(128, 1, 2, 512, kernels="triton", **change)
    few, many = (accesses(config, tokens, monkeypatch) for tokens in (8, 16))
    found = [(more - less) / 8 / (2 * config.hidden_size) for less, more in zip(few, many, strict=True)]
    assert found == pytest.approx([forward, backward], abs=0.1)


def trained(fp8, steps, restarted_after=None):
    """Return the losses of a small model that learns one batch by heart; it goes on from a copy after some steps."""
    generator = torch.Generator().manual_seed(0)
    batch = uniform_batch(samples=4, length=16, masked=3)
    batch.input_ids.random_(VOCAB_SIZE, generator=generator)
    batch.targets["labels"].random_(VOCAB_SIZE, generator=generator)
    batch.targets["positions"].copy_(torch.arange(12) * 5)
    config = BertConfig(32, 2, 2, 64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, fp8=fp8)

    def made(seed):
        torch.manual_seed(seed)
        model = build_bert(config, VOCAB_SIZE)
        return model, torch.optim.SGD(model.parameters(), lr=0.1)

    (model, optimizer), losses = made(0), []
    for step in range(steps):
        if step == restarted_after:
            state = model.state_dict()
            model, optimizer = made(1)
            model.load_state_dict(state)
        loss = model(batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_training_in_fp8_stays_near_fp32_and_resumes_bit_for_bit():
    """The loss falls from ln V + ln 2 as in fp32; weights alone determine how training goes on (law 5)."""
    exact, rounded = trained("none", 10), trained("emulated", 10)
    assert exact[-1] < 0.65 * exact[0] and rounded != exact
    assert max(abs(a - b) for a, b in zip(exact, rounded, strict=True)) < 0.01
    assert trained("emulated", 10, restarted_after=4) == rounded


def test_recomputation_of_activations_repeats_the_dropout_masks():
    """With dropout in plain torch, gradients are those of a model that keeps its activations."""
    expected = gradients(build(replace(CONFIG, kernels="plain")), seed=5)
    actual = gradients(build(replace(CONFIG, kernels="plain", recompute_activation=True)), seed=5)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_seed_decides_the_weights():
    """The same seed builds the same model, and another seed builds another."""
    first, same, other = (list(build(seed=seed).parameters()) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 25}, "model.hidden_size = 25: must be a multiple of model.num_attention_heads = 3"),
        ({"num_hidden_layers": 0}, "model.num_hidden_layers = 0: must be at least 1"),
        ({"hidden_act": "relu"}, "model.hidden_act = relu: must be one of gelu, gelu_new"),
        ({"hidden_dropout_prob": 1.0}, "model.hidden_dropout_prob = 1.0: must be in"),
        ({"attention_probs_dropout_prob": -0.1}, "model.attention_probs_dropout_prob = -0.1: must be in"),
        (
            {"activation_checkpointing": 4},
            "model.activation_checkpointing = 4: must be true, false or a number of layers",
        ),
        (
            {"activation_checkpointing": -1},
            "model.activation_checkpointing = -1: must be true, false or a number of layers",
        ),
        ({"max_logits_mib": 0}, "model.max_logits_mib = 0: must be at least 1"),
        ({"layer_norm_eps": 0.0}, "model.layer_norm_eps = 0.0: must be greater than 0"),
    ],
)
def test_an_impossible_configuration_is_refused(change, message):
    """The error for an impossible configuration names the field, its value and the rule."""
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        replace(CONFIG, **change)
