"""The files of a model that do not belong together are an error."""

import pytest
import torch
from finetuning_data import CONFIG, VOCAB_SIZE

from pipeline.conversion.fitting import (
    MOST_PADDING,
    padding_of,
    require_layers,
    require_rows,
    require_shapes,
    require_vocab_size,
)
from pipeline.families import get_family

FAMILY = get_family("bert")


@pytest.fixture(scope="module")
def model():
    with torch.device("meta"):
        return FAMILY.build(CONFIG, VOCAB_SIZE)


def test_a_model_fits_itself(model):
    """Its own parameters raise nothing."""
    state = model.state_dict()
    require_layers(FAMILY, CONFIG, state)
    require_shapes(state, model)
    require_vocab_size({"vocab_size": VOCAB_SIZE}, VOCAB_SIZE)
    require_vocab_size({}, VOCAB_SIZE)
    require_rows(VOCAB_SIZE, VOCAB_SIZE)
    assert padding_of(VOCAB_SIZE + MOST_PADDING, VOCAB_SIZE) == MOST_PADDING


def test_what_does_not_fit_is_named(model):
    """Each message has both sides and a remedy."""
    state = model.state_dict()
    name = "encoder.layers.1.output.weight"
    fewer = {key: value for key, value in state.items() if not key.startswith("encoder.layers.1.")}
    for call, message in (
        (
            lambda: require_layers(FAMILY, CONFIG, fewer),
            "num_hidden_layers = 2, but the weights hold 1 layers; take both",
        ),
        (
            lambda: require_shapes(state | {name: state[name][:, :8]}, model),
            rf"{name} is \(16, 8\) in the weights, \(16, 32",
        ),
        (lambda: require_shapes(fewer, model), "the weights lack encoder.layers.1.*; take both files from one model"),
        (
            lambda: require_vocab_size({"vocab_size": 70}, 60),
            "vocab_size = 70, but the weights hold 60 tokens; take both",
        ),
        (lambda: require_rows(60, 70), "the weights hold 60 tokens, the tokenizer 70; take both from the same model"),
        (
            lambda: padding_of(30_522, 28_996),
            "30,522 tokens, the tokenizer 28,996, .* another model; .*--extra_rows trim",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
