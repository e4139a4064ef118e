"""Laws of pipeline/families/megatron_bert.py; foremost law 7: what it computes is what Hugging Face computes."""

import math
from dataclasses import replace

import pytest
import torch
import transformers
from bert_cases import VOCAB_SIZE, divided, make_batch, with_large_weights
from family_cases import assert_equal, assert_fields_return, huggingface_outputs, our_outputs, with_other_weights
from samples import write_tokenizer

from pipeline.config import parse
from pipeline.conversion.huggingface import export, fill_masks
from pipeline.conversion.importing import read_model
from pipeline.conversion.layouts import registry
from pipeline.conversion.names import from_huggingface, to_huggingface
from pipeline.conversion.pretrained import form_of
from pipeline.families.megatron_bert import (
    FAMILY,
    FIELDS_OF_OURS,
    MegatronBertConfig,
    build,
    config_from,
    config_to,
)
from pipeline.model.initialization import first_offsets
from pipeline.planning.parameters import count_parameters

CONFIG = MegatronBertConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80)
MASKED_ONLY = replace(CONFIG, sentence_order=False)


def huggingface_of(config):
    """Return a random model of the class to which a configuration exports."""
    model_class = getattr(transformers, FAMILY.of(config).export.model_class)
    return with_large_weights(model_class(transformers.MegatronBertConfig(**config_to(config, VOCAB_SIZE))))


@pytest.mark.parametrize("config", [CONFIG, MASKED_ONLY], ids=["pretraining", "masked"])
def test_hidden_states_and_logits_equal_hugging_face_in_both_directions(config):
    """Hidden states and logits of a random model are those of its export, and those of a random Hugging Face model are
    those of its import.
    """
    form, batch, theirs = FAMILY.of(config), make_batch(), huggingface_of(config)
    imported = build(form.export.config_from(theirs.config.to_dict()), VOCAB_SIZE).eval()
    imported.load_state_dict(from_huggingface(form, theirs.state_dict()), strict=True)
    ours, exported = with_other_weights(with_large_weights(build(config, VOCAB_SIZE))), huggingface_of(config)
    exported.load_state_dict(to_huggingface(form, ours.state_dict()), strict=True)
    with torch.no_grad():
        for here, there in ((imported, theirs), (ours, exported)):
            assert_equal(our_outputs(here, batch), huggingface_outputs(there, batch))


def test_the_tensors_of_a_directory_select_the_form():
    """Tensors of a head of pairs make the model MegatronBertForPreTraining, and a directory without them
    MegatronBertForMaskedLM.
    """
    states = [huggingface_of(config).state_dict() for config in (CONFIG, MASKED_ONLY)]
    classes = [form_of(FAMILY, state, "")[0].export.model_class for state in states]
    assert classes == ["MegatronBertForPreTraining", "MegatronBertForMaskedLM"]


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, activation_checkpointing=2, recompute_activation=True)])
def test_loss_and_gradients_equal_those_of_hugging_face(config):
    """The loss is the mean over masked tokens plus the mean over pairs, with the gradients of Hugging Face; it does not
    matter what is recomputed.
    """
    theirs, batch = huggingface_of(CONFIG), make_batch()
    ours = build(config, VOCAB_SIZE).eval()
    ours.load_state_dict(from_huggingface(FAMILY, theirs.state_dict()), strict=True)
    _, logits, pairs = huggingface_outputs(theirs, batch)
    masked = torch.nn.functional.cross_entropy(logits[batch.targets["positions"]], batch.targets["labels"])
    expected = masked + torch.nn.functional.cross_entropy(pairs, batch.targets["pair"])
    out = ours(batch)
    torch.testing.assert_close(out.loss, expected)
    assert set(out.sums) == {"mlm_loss", "mlm_correct", "sop_loss", "sop_correct"}
    out.loss.backward()
    expected.backward()
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    expected = from_huggingface(FAMILY, {name: parameter.grad for name, parameter in _all_parameters(theirs).items()})
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


def _all_parameters(model):
    """Return the parameters, tied ones under each of their names."""
    return dict(model.named_parameters(remove_duplicate=False))


def test_micro_batches_add_up_to_the_global_batch():
    """Losses of two micro-batches add up to that of both as one batch (law 2)."""
    batch, model = make_batch(), with_large_weights(build(MASKED_ONLY, VOCAB_SIZE)).double()
    shares = [model(part).loss for part in divided(batch, 1)]
    torch.testing.assert_close(sum(shares), model(batch).loss, rtol=1e-10, atol=1e-10)


def test_initial_weights_are_those_of_megatron():
    """Weights have the standard deviation of the configuration, and those of products that end on the residual stream
    one that is sqrt(2 L) times as small.
    """
    torch.manual_seed(0)
    encoder = build(replace(CONFIG, hidden_size=256, intermediate_size=512), VOCAB_SIZE).encoder
    for layer in encoder.layers:
        for module, std in (("qkv", 0.02), ("intermediate", 0.02)):
            assert getattr(layer, module).weight.std().item() == pytest.approx(std, rel=0.05)
        for module in ("attention_output", "output"):
            assert getattr(layer, module).weight.std().item() == pytest.approx(0.02 / math.sqrt(6), rel=0.05)


@pytest.mark.parametrize(("size", "millions"), [("336m", 336), ("1.3b", 1281), ("3.9b", 3869)])
def test_parameters_of_every_size_are_those_of_hugging_face(size, millions):
    """The recipe of each size has as many parameters as the class of transformers."""
    config = parse(["--recipe", f"megatron_bert_{size}"]).model
    with torch.device("meta"):
        theirs = transformers.MegatronBertForPreTraining(transformers.MegatronBertConfig(**config_to(config, 30522)))
    total = sum(parameter.numel() for parameter in theirs.parameters())
    assert count_parameters(build, config, 30522).total == total
    assert round(total / 1e6) == millions


def test_an_export_is_a_directory_of_transformers(tmp_path):
    """The classes of transformers load an export with all its weights, masks are filled, and it is imported as it
    was.
    """
    write_tokenizer(tmp_path / "tokenizer", VOCAB_SIZE)
    model = with_large_weights(build(CONFIG, VOCAB_SIZE))
    export(FAMILY, model.state_dict(), CONFIG, tmp_path / "tokenizer", tmp_path / "out", "# A card\n")
    for name in ("MegatronBertForPreTraining", "AutoModelForMaskedLM", "AutoModel"):
        _, report = getattr(transformers, name).from_pretrained(tmp_path / "out", output_loading_info=True)
        assert not report["missing_keys"], name
    assert len(fill_masks(tmp_path / "out", "w1 [MASK] w2")[0]) == 5
    back = read_model(FAMILY, registry.read(tmp_path / "out"))
    assert back.config == CONFIG and all(torch.equal(back.state_dict[n], v) for n, v in model.state_dict().items())


def test_every_field_is_exported_but_those_of_training():
    """Export and import keep every field except those that are no property of the trained model."""
    config = MegatronBertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        type_vocab_size=3,
        hidden_act="gelu_new",
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.3,
        layer_norm_eps=1e-12,
        initializer_range=0.03,
    )
    assert_fields_return(config, FIELDS_OF_OURS, transformers.MegatronBertConfig, config_to, config_from)


@pytest.mark.parametrize(
    ("field", "value"), [("is_decoder", True), ("tie_word_embeddings", False), ("model_type", "bert")]
)
def test_what_the_family_does_not_compute_is_refused(field, value):
    """A Hugging Face configuration that changes the computation is an error."""
    settings = transformers.MegatronBertConfig(**config_to(CONFIG, VOCAB_SIZE)).to_dict()
    with pytest.raises(ValueError, match=f"{field} = {value!r}"):
        config_from({**settings, field: value})


@pytest.mark.parametrize(("width", "layers"), [(256, 4), (768, 12)])
def test_initialisation_by_position_reaches_both_layers(width, layers):
    """The first heads of the first two layers attend to the tokens at their offsets, as those of BERT do, although the
    embeddings that carry the positions are not normalised.
    """
    torch.manual_seed(0)
    heads = width // 64
    shape = dict(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4 * width)
    encoder = build(replace(CONFIG, **shape, initialization="positions"), VOCAB_SIZE).eval().encoder
    ids, bounds = torch.randint(VOCAB_SIZE, (128,)), torch.tensor([0, 128], dtype=torch.int32)
    with torch.no_grad():
        hidden = encoder.embeddings(ids, torch.zeros_like(ids), torch.arange(128))
        for number, layer in enumerate(encoder.layers[:2]):
            query, key, _ = layer.qkv(layer.attention_layer_norm(hidden))[0].unflatten(1, (3, heads, -1)).unbind(1)
            for head, offset in enumerate(first_offsets(number, heads)):
                attention = (query[:, head] @ key[:, head].T / 8).softmax(-1)
                assert torch.diagonal(attention, offset).mean() > 0.7
            hidden = layer(hidden, bounds, 128)
