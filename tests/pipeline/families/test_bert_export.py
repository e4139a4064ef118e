"""Laws of pipeline/families/bert.py: names and configuration in Hugging Face's library."""

import pytest
import torch
import transformers
from bert_cases import CONFIG, VOCAB_SIZE, build, build_huggingface
from family_cases import assert_fields_return

from pipeline.conversion.names import from_huggingface, to_huggingface
from pipeline.families.bert import FAMILY, FIELDS_OF_OURS, BertConfig, config_from, config_to, names
from pipeline.families.encoders import PARAMETERS


def test_names_form_a_bijection():
    """Every tensor returns from Hugging Face's names to its own, and every parameter of both sides has one name."""
    state = build().state_dict()
    theirs = to_huggingface(FAMILY, state)
    back = from_huggingface(FAMILY, theirs)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert theirs.keys() == build_huggingface().state_dict().keys()
    named = [name for parts in names(CONFIG.num_hidden_layers).values() for name in parts]
    assert len(named) == len(set(named))


def test_a_stack_counts_the_tensors_that_hugging_face_keeps_apart():
    """`stacks` is the number of parameters that a parameter of ours is in the reference implementation."""
    assert all(PARAMETERS.stacks(ours) == len(theirs) for ours, theirs in names(2).items())


def test_shared_tensors_may_be_saved_under_one_name():
    """A state dict that has a shared tensor once, as those of optimizers and safetensors do, is complete."""
    model = build()
    assert (
        to_huggingface(FAMILY, dict(model.named_parameters())).keys()
        == to_huggingface(FAMILY, model.state_dict()).keys()
    )
    once = dict(build_huggingface().named_parameters())
    assert "cls.predictions.decoder.weight" not in once
    assert from_huggingface(FAMILY, once).keys() == model.state_dict().keys()


def test_a_foreign_state_dict_is_refused():
    """Missing and unknown parameters are errors that name them."""
    state = dict(build().state_dict())
    del state["pooler.dense.weight"]
    with pytest.raises(ValueError, match=r"missing bert\.pooler\.dense\.weight|missing pooler\.dense\.weight"):
        to_huggingface(FAMILY, state)
    with pytest.raises(ValueError, match=r"unknown classifier\.weight"):
        from_huggingface(FAMILY, {**build_huggingface().state_dict(), "classifier.weight": torch.zeros(1)})


def test_the_configuration_survives_the_round_trip():
    """Every field of the configuration returns, except those that are no property of the trained model."""
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        type_vocab_size=3,
        hidden_act="gelu_new",
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.3,
        layer_norm_eps=1e-5,
        initializer_range=0.03,
    )
    assert_fields_return(config, FIELDS_OF_OURS, transformers.BertConfig, config_to, config_from)
    assert config_to(config, VOCAB_SIZE)["vocab_size"] == VOCAB_SIZE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("is_decoder", True),
        ("tie_word_embeddings", False),
        ("position_embedding_type", "relative_key"),
        ("model_type", "roberta"),
    ],
)
def test_what_the_family_does_not_compute_is_refused(field, value):
    """A Hugging Face configuration that changes the computation is an error."""
    settings = transformers.BertConfig(**config_to(CONFIG, VOCAB_SIZE)).to_dict()
    with pytest.raises(ValueError, match=f"{field} = {value!r}"):
        config_from({**settings, field: value})
