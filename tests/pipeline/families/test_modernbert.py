"""Laws of pipeline/families/modernbert.py; foremost law 7: what it computes is what Hugging Face computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from bert_cases import VOCAB_SIZE, divided, make_batch, with_large_weights
from family_cases import assert_equal, assert_fields_return, with_other_weights
from torch.nn import functional

from pipeline.config import parse
from pipeline.conversion.names import from_huggingface, to_huggingface
from pipeline.data.masking import Draw
from pipeline.data.packing import pack
from pipeline.data.special_tokens import SpecialTokens
from pipeline.families.modernbert import (
    FAMILY,
    FIELDS_OF_OURS,
    ModernBertConfig,
    ModernBertMasking,
    attention_types,
    build,
    config_from,
    config_to,
)
from pipeline.model.flops import Flops, measure

CONFIG = ModernBertConfig(
    hidden_size=48, num_hidden_layers=4, num_attention_heads=4, intermediate_size=80, local_attention=16
)
LENGTHS = [7, 64, 33, 150]
NEW_FIELDS = {"layer_types", "rope_parameters"}
"""Fields of a configuration since version 5 of transformers."""


def batch_of(lengths=LENGTHS):
    return replace(make_batch(lengths), segment_ids=None)


def with_weights(model):
    """Draw every parameter anew and large, but so that logits are about 1: nothing normalises the sum of the layers
    before the last one, so that matrices as large as those of other tests make larger logits.
    """
    with torch.no_grad():
        for parameter in with_large_weights(model).parameters():
            parameter.mul_(0.8 if parameter.dim() == 2 else 1.0)
    return model


def built(config=CONFIG):
    return with_weights(build(config, VOCAB_SIZE))


def huggingface_of(config=CONFIG):
    settings = transformers.ModernBertConfig(**config_to(config, VOCAB_SIZE), attn_implementation="eager")
    return with_weights(transformers.ModernBertForMaskedLM(settings))


def huggingface_outputs(model, batch):
    """Return the last hidden states (T, H) and the logits of every token of Hugging Face."""
    lengths = batch.lengths.tolist()
    ids = torch.nn.utils.rnn.pad_sequence(list(batch.input_ids.split(lengths)), batch_first=True)
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    inputs = {"input_ids": ids, "attention_mask": real.long()}
    return model.model(**inputs).last_hidden_state[real], model(**inputs).logits[real]


def all_rows(batch):
    return torch.arange(len(batch.input_ids))


@pytest.mark.parametrize(
    "config",
    [CONFIG, replace(CONFIG, global_attn_every_n_layers=2, local_rope_theta=100.0, hidden_act="gelu_new")],
    ids=["published", "other"],
)
def test_hidden_states_and_logits_equal_hugging_face_in_both_directions(config):
    """Hidden states and logits of a random model are those of its export, and those of a random Hugging Face model are
    those of its import, for sequences of several blocks of local attention.
    """
    batch, theirs = batch_of(), huggingface_of(config)
    imported = build(config_from(theirs.config.to_dict()), VOCAB_SIZE).eval()
    imported.load_state_dict(from_huggingface(FAMILY, theirs.state_dict()), strict=True)
    ours, exported = with_other_weights(built(config)), huggingface_of(config)
    exported.load_state_dict(to_huggingface(FAMILY, ours.state_dict()), strict=True)
    with torch.no_grad():
        for here, there in ((imported, theirs), (ours, exported)):
            found = here.hidden(batch), here.logits(batch, all_rows(batch))
            assert_equal(found, huggingface_outputs(there, batch))


@pytest.mark.parametrize("attention", ["plain", "padded", "triton"])
def test_every_attention_computes_the_same(attention):
    """The backends that run on this device agree, and so does a model that recomputes activations."""
    batch, small = batch_of([5, 20]), replace(CONFIG, num_hidden_layers=2, num_attention_heads=2)
    changed = {"attention": attention, "recompute_activation": True, "activation_checkpointing": 1}
    one, other = built(small), built(replace(small, **changed))
    torch.testing.assert_close(other.hidden(batch), one.hidden(batch), rtol=1e-4, atol=1e-5)
    for model in (one, other):
        model(batch).loss.backward()
    for ours, theirs in zip(other.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_local_attention_and_positions_have_an_effect():
    """Another window, or another base of either kind of positions, gives other hidden states."""
    batch = batch_of()
    with torch.no_grad():
        expected = built().hidden(batch)
        for changed in ({"local_attention": 18}, {"global_rope_theta": 1e4}, {"local_rope_theta": 1e3}):
            assert (built(replace(CONFIG, **changed)).hidden(batch) - expected).abs().max() > 0.01, changed


def test_the_loss_does_not_depend_on_the_division_into_micro_batches():
    """The loss is the mean cross entropy of masked tokens, and that of two micro-batches adds up to it (law 3)."""
    batch, model = batch_of(), built()
    whole = model(batch).loss
    parts = sum(model(part).loss for part in divided(batch, 2))
    expected = functional.cross_entropy(model.logits(batch, batch.targets["positions"]), batch.targets["labels"])
    torch.testing.assert_close(whole, expected)
    torch.testing.assert_close(parts, whole)


def test_initial_weights_are_those_of_megatron():
    """Weights have the configured standard deviation, cut at two of it, and those whose products are added to the
    residual stream, and of the head, one that is sqrt(2 L) times as small; normalisations begin as the identity.
    """
    config = replace(CONFIG, hidden_size=256, intermediate_size=384)
    torch.manual_seed(0)
    layers = config.num_hidden_layers
    for name, parameter in build(config, 2000).named_parameters():
        if "layer_norm" in name:
            assert (parameter == 1).all()
        elif name.endswith("bias"):
            assert not parameter.any()
        else:
            small = name.endswith(("attention_output.weight", ".output.weight", "dense.weight"))
            std = config.initializer_range / (2 * layers) ** 0.5 if small else config.initializer_range
            assert parameter.abs().max() <= 2 * std * (1 + 1e-5), name
            assert parameter.std().item() == pytest.approx(0.88 * std, rel=0.02), name


@pytest.mark.parametrize(("size", "millions"), [("base", 149.0), ("large", 394.8)])
def test_sizes_are_those_of_the_released_models(size, millions):
    """The models of the recipes have as many parameters as the class of transformers with the released shapes."""
    config = parse(["--recipe", f"modernbert_{size}"]).model
    with torch.device("meta"):
        ours = build(config, 50368)
        theirs = transformers.ModernBertModel(transformers.ModernBertConfig(**config_to(config, 50368)))
    encoder = sum(parameter.numel() for parameter in ours.encoder.parameters())
    assert encoder == sum(parameter.numel() for parameter in theirs.parameters())
    assert round(encoder / 1e6, 1) == millions


def test_thirty_percent_are_masked():
    """Of each sample exactly 30 % of the tokens are masked, none of them special; 80 % of these become the mask token,
    and 10 % a random one.
    """
    special = SpecialTokens({"cls": 2, "sep": 3, "mask": 4, "pad": 0}, np.arange(500) < 5, np.arange(500) % 2 > 0)
    texts = [np.random.default_rng(n).integers(5, 500, 998) for n in range(20)]
    packed = pack(FAMILY.template, texts, np.full(20, 998), special.ids)
    draw = Draw(0, np.zeros(20, np.int64), np.arange(20))
    counts = ModernBertMasking().counts(np.diff(packed.cu_seqlens), draw)
    corrupted = ModernBertMasking().apply(packed, counts, draw, special)
    positions = corrupted.targets["positions"]
    assert counts.tolist() == [300] * 20 and packed.is_text[positions].all()
    found, labels = corrupted.input_ids[positions], packed.input_ids[positions]
    for share, expected in (((found == 4).mean(), 0.8), ((found == labels).mean(), 0.1 + 0.1 / 500)):
        assert share == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 6000) ** 0.5)


def test_operations_of_local_attention_are_counted():
    """A model of 7 layers has 3 with global attention and 4 with local attention, in which a pair of tokens counts only
    if they are near each other; the other costs are those of its products.
    """
    config = replace(CONFIG, num_hidden_layers=7)
    hidden, inner = config.hidden_size, config.intermediate_size
    assert measure(lambda config: build(config, VOCAB_SIZE), config) == Flops(
        per_token=3.0 * 7 * (8 * hidden**2 + 6 * hidden * inner),
        per_pair=3.0 * 3 * 4 * hidden,
        per_masked=3.0 * (2 * hidden**2 + 2 * hidden * VOCAB_SIZE),
        per_sample=0.0,
        per_near_pair=3.0 * 4 * 4 * hidden,
        window=8,
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_attention_heads": 16}, "model.num_attention_heads = 16: heads must have an even number of features"),
        ({"local_attention": 1}, "model.local_attention = 1: must be at least 2"),
        ({"global_rope_theta": 0.5}, "model.global_rope_theta = 0.5: must be above 1"),
        ({"attention_output_dropout_prob": 1.0}, "model.attention_output_dropout_prob = 1.0: must be in"),
    ],
)
def test_a_wrong_field_is_named(changed, message):
    """A value that the model does not support is an error that names the field."""
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changed)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"norm_bias": True}, "norm_bias"),
        ({"decoder_bias": False}, "decoder_bias"),
        ({"classifier_activation": "silu"}, "classifier_activation"),
        ({"embedding_dropout": 0.5}, "embedding_dropout"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn", "rope_theta": 1e4}}}, "rope_parameters"),
        ({"layer_types": ["sliding_attention"] * 4}, "layer_types"),
        ({"norm_eps": None}, "layer_norm_eps"),
        (
            {"classifier_pooling": "mean", "architectures": ["ModernBertForSequenceClassification"]},
            "classifier_pooling",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unsupported_configuration_is_named(changed, named):
    """A field of a configuration that the family does not support is an error that names it."""
    with pytest.raises(ValueError, match=f"config.json: {named}"):
        config_from(transformers.ModernBertConfig(**config_to(CONFIG, VOCAB_SIZE)).to_dict() | changed)


def test_configurations_of_older_files_are_read():
    """Files before version 5 of transformers state the period of global attention and the bases of the positions in
    fields of their own, beside which the defaults of the new fields appear; the pooling of pre-trained models is no
    property of the encoder.
    """
    defaults = transformers.ModernBertConfig().to_dict()
    shared = {name: value for name, value in config_to(CONFIG, VOCAB_SIZE).items() if name not in NEW_FIELDS}
    assert defaults.keys() >= NEW_FIELDS
    old = {"global_attn_every_n_layers": 2, "global_rope_theta": 5e4, "local_rope_theta": 1e3}
    found = config_from(defaults | shared | old | {"classifier_pooling": "mean"})
    assert found == replace(CONFIG, **old)
    assert config_from(defaults | shared) == CONFIG
    modern = transformers.ModernBertConfig(**shared, **old)
    assert modern.layer_types == attention_types(4, 2) and config_from(modern.to_dict()) == found


def test_every_field_is_exported_but_those_of_training():
    """Export and import keep every field except those that are no property of the trained encoder."""
    config = ModernBertConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        hidden_act="gelu_new",
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.3,
        layer_norm_eps=1e-6,
        initializer_range=0.03,
        local_attention=20,
        global_attn_every_n_layers=2,
        global_rope_theta=3e4,
        local_rope_theta=2e3,
    )
    assert_fields_return(config, FIELDS_OF_OURS, transformers.ModernBertConfig, config_to, config_from)
