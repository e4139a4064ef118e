"""Values of `[model]` that are out of range are errors that name the field."""

import pytest

from pipeline.model.config import EncoderConfig

SIZES = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 8}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_layers", 0),
        ("hidden_size", 13),
        ("hidden_act", "relu"),
        ("hidden_dropout_prob", 1.0),
        ("attention_probs_dropout_prob", -0.1),
        ("activation_checkpointing", 4),
        ("layer_norm_eps", 0.0),
        ("initializer_range", float("nan")),
        ("max_logits_mib", 0),
        ("z_loss", -1e-4),
        ("attention", "bucketed"),
        ("fp8", "bf16"),
    ],
)
def test_values_out_of_range(field, value):
    """The message begins with the field and the value."""
    with pytest.raises(ValueError, match=rf"^model.{field} = {value}: must be"):
        EncoderConfig(**(SIZES | {field: value}))


def test_initialisation_by_position_needs_two_features_of_a_head():
    """Initialisation by position needs heads of at least two features, since one feature has no room for
    a frequency.
    """
    narrow = SIZES | {"num_attention_heads": 12}
    assert EncoderConfig(**narrow).initialization == "normal"
    with pytest.raises(ValueError, match=r"^model.initialization = positions: must have heads of at least two"):
        EncoderConfig(**narrow, initialization="positions")
    EncoderConfig(**narrow | {"num_attention_heads": 6}, initialization="positions")


def test_varlen_has_no_dropout():
    """The recipe is rejected, not the first training step."""
    with pytest.raises(ValueError, match=r"^model.attention = varlen: has no dropout"):
        EncoderConfig(**SIZES, attention="varlen")
    EncoderConfig(**SIZES, attention="varlen", attention_probs_dropout_prob=0.0)


@pytest.mark.parametrize("field", ["hidden_size", "intermediate_size"])
def test_products_in_fp8_need_multiples_of_16(field):
    """Tensor cores divide the features of a layer into blocks of this size."""
    sizes = SIZES | {"hidden_size": 48, "intermediate_size": 64}
    EncoderConfig(**sizes, fp8="native")
    EncoderConfig(**sizes | {field: 24})
    with pytest.raises(ValueError, match=rf"^model.{field} = 24: must be a multiple of 16 with model.fp8 = native"):
        EncoderConfig(**sizes | {field: 24}, fp8="native")


@pytest.mark.parametrize(("value", "layers"), [(False, 0), (0, 0), (1, 1), (3, 3), (True, 3)])
def test_true_checkpoints_all_layers(value, layers):
    """`true` means all layers, and is not the number 1."""
    assert EncoderConfig(**SIZES, activation_checkpointing=value).checkpointed_layers == layers
