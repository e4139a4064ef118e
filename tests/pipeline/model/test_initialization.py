"""Laws of pipeline/model/initialization.py."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.data.batch import Batch
from pipeline.families.bert import BertConfig, build
from pipeline.model.config import EncoderConfig
from pipeline.model.encoder import Encoder
from pipeline.model.initialization import (
    LOWEST,
    SHRINK,
    attend_to_offset,
    first_offsets,
    initialize_weights,
    position_frequencies,
    sinusoids,
)

VOCAB_SIZE = 50
SHAPE = dict(hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64)
LENGTH = 128


def built(initialization, **shape):
    config = BertConfig(**SHAPE | shape, initializer_range=0.05, initialization=initialization)
    torch.manual_seed(0)
    return build(config, VOCAB_SIZE).eval()


def attention_maps(encoder, layers):
    """Return the attention (N, LENGTH, LENGTH) of the first layers on a sample of random words."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(VOCAB_SIZE, (LENGTH,), generator=generator)
    bounds = torch.tensor([0, LENGTH], dtype=torch.int32)
    hidden = encoder.embeddings(ids, torch.zeros_like(ids), torch.arange(LENGTH))
    maps = []
    for layer in encoder.layers[:layers]:
        query, key, _ = layer.qkv(hidden)[0].unflatten(1, (3, layer.heads, -1)).unbind(1)  # (T, N, D) each
        scores = torch.einsum("inw,jnw->nij", query, key) / math.sqrt(query.shape[-1])
        maps.append(scores.softmax(-1))
        hidden = layer(hidden, bounds, LENGTH)
    return maps


def test_weights_are_drawn_as_in_bert():
    """Weights are normal and cut at two standard deviations, biases are 0, and normalisations are the identity."""
    config = EncoderConfig(hidden_size=240, num_hidden_layers=3, num_attention_heads=3, intermediate_size=40)
    encoder = Encoder(config, VOCAB_SIZE, 2)
    encoder.apply(lambda module: initialize_weights(module, 0.02, cut=2.0))
    weights = [p.detach().flatten() for name, p in encoder.named_parameters() if p.dim() == 2]
    everything = torch.cat(weights)
    assert everything.abs().max() <= 0.04
    reference = torch.nn.init.trunc_normal_(torch.empty_like(everything), std=0.02, a=-0.04, b=0.04)
    ranks = torch.linspace(0, len(everything) - 1, 21).long()
    torch.testing.assert_close(everything.sort().values[ranks], reference.sort().values[ranks], rtol=0, atol=3e-4)
    for name, parameter in encoder.named_parameters():
        if parameter.dim() == 1:
            assert torch.equal(parameter, torch.full_like(parameter, float(name.endswith("layer_norm.weight")))), name


@pytest.mark.parametrize("shape", [{}, {"hidden_size": 256}, {"hidden_size": 256, "num_attention_heads": 8}])
@torch.no_grad()
def test_the_heads_of_the_first_layers_attend_to_their_offsets(shape):
    """With initialisation by position, a token's neighbour gets most of its attention; with normal weights no token
    does.
    """
    encoders = {name: built(name, **shape).encoder for name in ("normal", "positions")}
    maps_of = {name: attention_maps(encoder, 2) for name, encoder in encoders.items()}
    for layer in range(2):
        maps = {name: found[layer] for name, found in maps_of.items()}
        for head, offset in enumerate(first_offsets(layer, maps["normal"].shape[0])):
            at_offset = {name: torch.diagonal(each[head], offset).mean() for name, each in maps.items()}
            assert at_offset["positions"] > 0.5, (layer, head, at_offset)
            assert at_offset["normal"] < 0.05, (layer, head, at_offset)


def test_heads_take_the_nearest_offsets():
    """Up to eight heads of the first layer and half of the heads of the second one begin with offsets,
    and no others.
    """
    assert first_offsets(0, 4) == (-1, 1, -2, 2)
    assert first_offsets(1, 4) == (-1, 1)
    assert first_offsets(0, 12) == (-1, 1, -2, 2, -3, 3, -4, 4)
    assert first_offsets(1, 12) == (-1, 1, -2, 2, -3, 3)
    assert first_offsets(2, 12) == ()


def test_scores_peak_at_the_offset_and_nowhere_else():
    """The score depends on the distance alone, and at no other distance, even beyond 512 tokens, comes
    near its peak.
    """
    hidden, width = 768, 64
    frequencies = position_frequencies(width // 2)
    query, key = torch.zeros(2, width, hidden).unbind()
    attend_to_offset(query, key, frequencies, 3)
    # A word has the other half of the energy.
    normalised = sinusoids(torch.arange(600.0), hidden, frequencies) * math.sqrt(0.5)
    scores = (normalised @ query.T) @ (normalised @ key.T).T / math.sqrt(width)  # (P, P)
    peaks = torch.diagonal(scores, 3)
    torch.testing.assert_close(peaks, torch.full_like(peaks, 8.0), rtol=1e-4, atol=0)
    others = scores.clone()
    torch.diagonal(others, 3).fill_(-math.inf)
    assert others.max() < 0.5 * 8.0
    torch.testing.assert_close(scores[10, 40], scores[500, 530], rtol=0, atol=1e-3)


def test_sinusoids_have_the_energy_of_words_and_differ():
    """Each position has a mean square of 1, and frequencies are below half a turn per token, so that
    positions differ.
    """
    frequencies = position_frequencies(16)
    assert frequencies.min() >= LOWEST
    assert frequencies.max() < math.pi
    assert (frequencies.diff() > 0).all()
    table = sinusoids(torch.arange(512.0), 128, frequencies)
    torch.testing.assert_close(table.square().mean(1), torch.ones(512))
    assert torch.cdist(table, table).fill_diagonal_(1.0).min() > 0.5


def test_positions_change_only_where_attention_begins():
    """All weights except positions, segments and the first layers' queries and keys are the normal ones."""
    normal, positions = (dict(built(name).named_parameters()) for name in ("normal", "positions"))
    changed = {name for name in normal if not torch.equal(normal[name], positions[name])}
    first = {f"encoder.layers.{layer}.qkv.weight" for layer in range(2)}
    assert changed == {"encoder.embeddings.position.weight", "encoder.embeddings.token_type.weight"} | first
    for name in first:
        assert torch.equal(normal[name][2 * 128 :], positions[name][2 * 128 :]), "values are not changed"
    segments = "encoder.embeddings.token_type.weight"
    torch.testing.assert_close(positions[segments], SHRINK * normal[segments])
    rms = normal["encoder.embeddings.word.weight"].square().mean().sqrt()
    table = positions["encoder.embeddings.position.weight"]
    torch.testing.assert_close(table.square().mean().sqrt(), rms)


def test_later_layers_of_a_deep_model_hardly_change_what_the_first_ones_have_found():
    """At the end of twelve layers the states are almost those behind the second layer; with normal weights they are
    not.
    """

    def similarity(initialization):
        model = built(initialization, num_hidden_layers=12, intermediate_size=512)
        states = []
        for layer in (1, 11):
            model.encoder.layers[layer].register_forward_hook(lambda _, __, output: states.append(output))
        model.hidden(batch_of(torch.arange(LENGTH) % VOCAB_SIZE))
        return float(torch.nn.functional.cosine_similarity(*states).mean())

    with torch.no_grad():
        assert similarity("positions") > 0.95
        assert similarity("normal") < 0.7


def test_a_masked_token_depends_on_its_neighbours_from_the_start():
    """Other neighbours change the state of a masked token many times more than with normal weights."""

    def change(initialization):
        model = built(initialization)
        states = []
        for seed in (0, 1):
            ids = torch.arange(LENGTH) % VOCAB_SIZE
            ids[63:66] = torch.tensor([10 + seed, 4, 20 + seed])
            states.append(model.hidden(batch_of(ids))[64])
        return float((states[0] - states[1]).norm() / states[0].norm())

    with torch.no_grad():
        assert change("positions") > 5 * change("normal")


def batch_of(ids):
    positions = torch.arange(len(ids))
    bounds = torch.tensor([0, len(ids)], dtype=torch.int32)
    fields = dict(counts={}, totals={}, sample_ids=positions[:1].numpy(), epochs=positions[:1].numpy(), group=0)
    return Batch(ids, torch.zeros_like(ids), positions, bounds, len(ids), {}, **fields)


def test_an_unknown_initialization_is_an_error():
    """The error for an unknown initialisation names the field and its values."""
    config = BertConfig(**SHAPE)
    with pytest.raises(ValueError, match=r"model.initialization = uniform: must be one of normal, positions"):
        replace(config, initialization="uniform")
