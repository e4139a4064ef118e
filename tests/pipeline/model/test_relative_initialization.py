"""Laws of pipeline/model/relative_initialization.py."""

import math

import pytest
import torch

from pipeline.families import bert, deberta, modernbert
from pipeline.kernels.rotary import rotate, rotation
from pipeline.model.initialization import first_offsets
from pipeline.model.relative_initialization import ROTARY_SCORE, rotary_offset

VOCAB_SIZE, LENGTH = 50, 64
SHAPE = dict(hidden_size=256, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, initializer_range=0.04)
FAMILIES = {"bert": bert, "deberta": deberta, "modernbert": modernbert}
CONFIGS = {"deberta": deberta.DebertaConfig, "modernbert": modernbert.ModernBertConfig}
"""Configurations of the families without absolute positions."""


def built(family, initialization, **shape):
    torch.manual_seed(0)
    config = (CONFIGS | {"bert": bert.BertConfig})[family](**SHAPE | shape, initialization=initialization)
    return FAMILIES[family].FAMILY.of(config).build(config, VOCAB_SIZE).eval()


@torch.no_grad()
def attention_maps(encoder, count):
    """Return the attention (N, LENGTH, LENGTH) of the first layers to random words.

    A head has as many features as there are tokens: with the identity as values its output is its attention.
    """
    maps = []

    def recorded(attention):
        def attend(qkv, *arguments, **options):
            identity = torch.eye(LENGTH)[:, None, None].expand(-1, 1, qkv.shape[2], -1)  # (T, 1, N, T)
            maps.append(attention(torch.cat((qkv[:, :2], identity), 1), *arguments, **options).transpose(0, 1))
            return attention(qkv, *arguments, **options)

        return attend

    for layer in encoder.layers[:count]:
        layer.attention = recorded(layer.attention)
    ids = torch.randint(VOCAB_SIZE, (LENGTH,), generator=torch.Generator().manual_seed(1))
    encoder(ids, None, torch.arange(LENGTH), torch.tensor([0, LENGTH], dtype=torch.int32), LENGTH)
    return maps


@pytest.mark.parametrize("family", CONFIGS)
def test_the_heads_of_the_first_layers_attend_to_their_offsets(family):
    """With initialisation by position, a token's neighbour gets most of its attention; with normal weights no token
    does.
    """
    maps_of = {name: attention_maps(built(family, name).encoder, 2) for name in ("normal", "positions")}
    for layer in range(2):
        for head, offset in enumerate(first_offsets(layer, SHAPE["num_attention_heads"])):
            at_offset = {name: float(maps[layer][head].diagonal(offset).mean()) for name, maps in maps_of.items()}
            assert at_offset["positions"] > 0.5, (layer, head, offset, at_offset)
            assert at_offset["normal"] < 0.05, (layer, head, offset, at_offset)


@pytest.mark.parametrize("family", CONFIGS)
def test_other_heads_and_layers_are_not_changed(family):
    """Random heads, values and all layers behind the second one have the normal weights."""
    normal, positions = (dict(built(family, name).named_parameters()) for name in ("normal", "positions"))
    changed = {name for name in normal if not torch.equal(normal[name], positions[name])}
    table = {"deberta": "encoder.relative.weight", "modernbert": "encoder.embeddings.word.weight"}[family]
    first = {name for name in normal if name.startswith(("encoder.layers.0.qkv.", "encoder.layers.1.qkv."))}
    assert changed == {table} | first
    second = "encoder.layers.1.qkv.weight"
    ours, theirs = (found[second].unflatten(0, (3, 4, -1)) for found in (positions, normal))
    assert torch.equal(ours[2], theirs[2]), "values"
    assert torch.equal(ours[:, 2:], theirs[:, 2:]), "heads without an offset"


@pytest.mark.parametrize("family", ["bert", "deberta"])
def test_later_layers_of_a_deep_model_add_together_what_two_layers_would(family):
    """The ten layers behind the second one of twelve have a fifth of the normal weights on the residual stream, and all
    others keep theirs.
    """
    normal, positions = (
        dict(built(family, name, num_hidden_layers=12).named_parameters()) for name in ("normal", "positions")
    )
    for name, weight in normal.items():
        layer = name.removeprefix("encoder.layers.").split(".")[0]
        if not layer.isdigit() or int(layer) < 2:
            continue
        is_output = name.endswith((".attention_output.weight", ".output.weight"))
        torch.testing.assert_close(positions[name], weight * (0.2 if is_output else 1.0))


def test_both_encoders_of_deberta_v3_begin_on_offsets():
    """Generator and discriminator have relative embeddings and heads of their own, which begin alike."""
    model = built("deberta", "positions", objective="replaced")
    torch.testing.assert_close(model.generator.relative.weight, model.encoder.relative.weight, rtol=0.05, atol=1e-9)
    for encoder in (model.generator, model.encoder):
        bias = encoder.layers[0].qkv.bias.unflatten(0, (3, 4, -1))
        assert (bias[0].norm(dim=1) > 1).all()
        assert not bias[1:].any()


@pytest.mark.parametrize("theta", [10_000.0, 160_000.0])
@pytest.mark.parametrize("offset", [-4, 1])
def test_rotary_scores_peak_at_the_offset_alone(theta, offset):
    """The score depends on the distance alone, is L at the offset, and at least L / 10 lower at all other distances
    below 512.
    """
    length, head_dim = 512, 64
    query, key = rotary_offset(head_dim, theta, offset)
    qkv = torch.stack((query, key, key)).expand(length, 3, head_dim)[:, :, None]  # (T, 3, N, D)
    query, key, _ = rotate(qkv, rotation(torch.arange(length), head_dim, theta))[:, :, 0].unbind(1)
    scores = query @ key.T / math.sqrt(head_dim)
    peaks = scores.diagonal(offset)
    torch.testing.assert_close(peaks, torch.full_like(peaks, ROTARY_SCORE))
    scores.diagonal(offset).fill_(-math.inf)
    assert scores.max() < 0.9 * ROTARY_SCORE


@torch.no_grad()
def test_words_share_features_that_tied_logits_do_not_depend_on():
    """All words have the same two features, and without them the predictions of a ModernBERT's head are the same."""
    model = built("modernbert", "positions")
    words = model.encoder.embeddings.word.weight
    assert words[:, :2].std(0).max() == 0
    assert words[0, 0] == -words[0, 1] != 0
    states = torch.randn(9, SHAPE["hidden_size"], generator=torch.Generator().manual_seed(1))
    before = model.mlm_head(states).log_softmax(-1)
    words[:, :2] = 0
    torch.testing.assert_close(model.mlm_head(states).log_softmax(-1), before, rtol=0, atol=1e-5)
