"""Laws of pipeline/families/albert.py; foremost law 7: what it computes is what Hugging Face computes."""

from dataclasses import replace
from pathlib import Path

import bert_cases
import pytest
import torch
import transformers
from bert_cases import VOCAB_SIZE, make_batch, with_large_weights
from family_cases import assert_equal, assert_fields_return, huggingface_outputs, our_outputs, with_other_weights
from samples import write_tokenizer

from pipeline.config import parse
from pipeline.conversion.huggingface import export, fill_masks
from pipeline.conversion.importing import ImportOptions, import_pretrained, read_model
from pipeline.conversion.layouts import registry
from pipeline.conversion.names import from_huggingface, to_huggingface
from pipeline.conversion.pretrained import form_of
from pipeline.families.albert import FAMILY, FIELDS_OF_OURS, AlbertConfig, build, config_from, config_to
from pipeline.families.bert import build as build_bert
from pipeline.model.flops import measure
from pipeline.planning.parameters import count_matrices, count_parameters
from preprocessing.tokenizer import unigram
from preprocessing.tokenizer.saving import save_tokenizer

PUBLISHED = Path(__file__).parents[4] / "shared" / "data" / "vocab" / "albert-spiece.model"
CONFIG = AlbertConfig(
    hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80, embedding_size=20
)
MASKED_ONLY = replace(CONFIG, sentence_order=False)


def huggingface_of(config):
    """Return a random model of the class to which a configuration exports."""
    model_class = getattr(transformers, FAMILY.of(config).export.model_class)
    return with_large_weights(model_class(transformers.AlbertConfig(**config_to(config, VOCAB_SIZE))))


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
    """Tensors of a head of pairs make the model AlbertForPreTraining, and a directory without them
    AlbertForMaskedLM.
    """
    states = [huggingface_of(config).state_dict() for config in (CONFIG, MASKED_ONLY)]
    classes = [form_of(FAMILY, state, "")[0].export.model_class for state in states]
    assert classes == ["AlbertForPreTraining", "AlbertForMaskedLM"]


@pytest.mark.parametrize("checkpointed", [0, 2])
def test_the_repeated_layer_is_a_stack_of_equal_layers(checkpointed):
    """Loss and gradients are those of an encoder with three layers of equal weights, the gradients of which add up; it
    does not matter how many repetitions recompute their activations.
    """
    config = replace(CONFIG, activation_checkpointing=checkpointed)
    ours, stack, batch = with_large_weights(build(config, VOCAB_SIZE)), build(CONFIG, VOCAB_SIZE), make_batch()
    stack.encoder.layers = build_bert(bert_cases.CONFIG, VOCAB_SIZE).encoder.layers
    for layer in stack.encoder.layers:
        layer.output.approximate = ours.encoder.layers[0].output.approximate
        layer.load_state_dict(ours.encoder.layers[0].state_dict())
    stack.load_state_dict({n: v for n, v in ours.state_dict().items() if ".layers." not in n}, strict=False)
    losses = [model.eval()(batch).loss for model in (ours, stack)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    for name, parameter in ours.encoder.layers[0].named_parameters():
        several = [dict(layer.named_parameters())[name].grad for layer in stack.encoder.layers]
        torch.testing.assert_close(parameter.grad, sum(several), rtol=1e-4, atol=1e-6)


def test_the_loss_is_the_sum_of_both_means():
    """The loss is the mean over masked tokens plus the mean over pairs, whose metrics are named after sentence
    order.
    """
    model, batch = with_large_weights(build(CONFIG, VOCAB_SIZE)), make_batch()
    _, logits, pairs = our_outputs(model, batch)
    masked = torch.nn.functional.cross_entropy(logits[batch.targets["positions"]], batch.targets["labels"])
    out = model(batch)
    torch.testing.assert_close(out.loss, masked + torch.nn.functional.cross_entropy(pairs, batch.targets["pair"]))
    assert set(out.sums) == {"mlm_loss", "mlm_correct", "sop_loss", "sop_correct"}
    assert [term.title for term in FAMILY.terms] == ["masked-token", "sentence-order"]


@pytest.mark.parametrize(("size", "millions"), [("base", 11.8), ("large", 17.8), ("xlarge", 59.0), ("xxlarge", 223.2)])
def test_parameters_of_every_size_are_those_of_hugging_face(size, millions):
    """The recipe of each size has as many parameters as the class of transformers; the planner counts the layer
    once.
    """
    config = parse(["--recipe", f"albert_{size}"]).model
    with torch.device("meta"):
        theirs = transformers.AlbertForPreTraining(transformers.AlbertConfig(**config_to(config, 30000)))
    total = sum(parameter.numel() for parameter in theirs.parameters())
    assert count_parameters(build, config, 30000).total == total
    assert round(total / 1e6, 1) == millions
    hidden, inner = config.hidden_size, config.intermediate_size
    matrices = count_matrices(build, config, 30000, FAMILY.parameters.is_matrix)
    assert matrices == 4 * hidden**2 + 2 * hidden * inner


def test_every_repetition_counts_as_operations():
    """A token costs the operations of every repetition of the layer, forward and backward."""
    once, thrice = (
        measure(lambda config: build(config, VOCAB_SIZE), replace(CONFIG, num_hidden_layers=n)) for n in (1, 3)
    )
    layer = 6 * (4 * 48 * 48 + 2 * 48 * 80)
    assert thrice.per_token - once.per_token == 2 * layer


def test_initialisation_by_position_reaches_the_layer():
    """Behind the projection, the first head of the layer attends to the token before, as it is initialised to."""
    shape = dict(hidden_size=256, num_attention_heads=4, embedding_size=128, initialization="positions")
    torch.manual_seed(0)
    encoder = build(replace(CONFIG, **shape), VOCAB_SIZE).eval().encoder
    ids = torch.randint(VOCAB_SIZE, (64,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        hidden = encoder.projection(encoder.embeddings(ids, torch.zeros_like(ids), torch.arange(64)))
        query, key, _ = encoder.layers[0].qkv(hidden)[0].unflatten(1, (3, 4, -1)).unbind(1)
        attention = (query[:, 0] @ key[:, 0].T / 8).softmax(-1)
    assert torch.diagonal(attention, -1).mean() > 0.5


def test_an_export_is_a_directory_of_transformers(tmp_path):
    """The classes of transformers load an export with all its weights, masks are filled, and it is imported as it
    was.
    """
    write_tokenizer(tmp_path / "tokenizer", VOCAB_SIZE)
    model = with_large_weights(build(CONFIG, VOCAB_SIZE))
    export(FAMILY, model.state_dict(), CONFIG, tmp_path / "tokenizer", tmp_path / "out", "# A card\n")
    for name in ("AlbertForPreTraining", "AlbertForMaskedLM", "AutoModel"):
        _, report = getattr(transformers, name).from_pretrained(tmp_path / "out", output_loading_info=True)
        assert not report["missing_keys"], name
    assert len(fill_masks(tmp_path / "out", "w1 [MASK] w2")[0]) == 5
    back = read_model(FAMILY, registry.read(tmp_path / "out"))
    assert back.config == CONFIG and all(torch.equal(back.state_dict[n], v) for n, v in model.state_dict().items())


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published vocabulary is not here")
def test_a_model_with_the_published_vocabulary_is_imported(tmp_path):
    """A directory of transformers with a tokenizer.json made of the released SentencePiece model is imported, and its
    export fills masks with words of that vocabulary.
    """
    model = transformers.AlbertForPreTraining(transformers.AlbertConfig(**config_to(CONFIG, 30000)))
    model.save_pretrained(tmp_path / "theirs")
    save_tokenizer(unigram.read_model(PUBLISHED, lower_case=True), tmp_path / "theirs")
    first, *_ = import_pretrained(tmp_path / "theirs", tmp_path / "ours", ImportOptions())
    assert "(AlbertForPreTraining)" in first
    state = read_model(FAMILY, registry.read(tmp_path / "theirs"))
    export(FAMILY, state.state_dict, state.config, tmp_path / "ours" / "tokenizer", tmp_path / "out", "# A card\n")
    assert len(fill_masks(tmp_path / "out", "Paris is the capital of [MASK].")[0]) == 5


def test_every_field_is_exported_but_those_of_training():
    """Export and import keep every field except those that are no property of the trained model."""
    config = AlbertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        embedding_size=8,
        max_position_embeddings=128,
        type_vocab_size=3,
        hidden_act="gelu",
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.3,
        layer_norm_eps=1e-5,
        initializer_range=0.03,
    )
    assert_fields_return(config, FIELDS_OF_OURS, transformers.AlbertConfig, config_to, config_from)


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_hidden_groups", 2), ("inner_group_num", 2), ("tie_word_embeddings", False), ("model_type", "bert")],
)
def test_what_the_family_does_not_compute_is_refused(field, value):
    """A Hugging Face configuration that changes the computation is an error."""
    settings = transformers.AlbertConfig(**config_to(CONFIG, VOCAB_SIZE)).to_dict()
    with pytest.raises(ValueError, match=f"{field} = {value!r}"):
        config_from({**settings, field: value})
