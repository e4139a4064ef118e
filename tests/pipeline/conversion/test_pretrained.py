"""Laws of pipeline/conversion/pretrained.py."""

import pytest
import torch
import transformers
from pretrained_models import bert, reconfigure, rewrite, saved

from pipeline.conversion.layouts import registry
from pipeline.conversion.names import to_huggingface
from pipeline.conversion.pretrained import read_pretrained, with_rows
from pipeline.families.bert import FAMILY

HEAD = "cls.predictions.transform.dense.weight"


@pytest.fixture(scope="module")
def whole():
    """A pre-training model of `transformers`."""
    return bert()


@pytest.fixture
def exported(whole, tmp_path):
    """Its directory."""
    return saved(whole, tmp_path / "out")


def read(directory, **options):
    return read_pretrained(FAMILY, registry.read(directory), **options)


def tensors_of(pretrained):
    """The parameters under their names in `transformers`."""
    return to_huggingface(pretrained.form, pretrained.state_dict)


def test_a_whole_model_is_read_as_it_is(whole, exported):
    """A pre-training model keeps every tensor, bit for bit, and nothing is new or left out."""
    pretrained = read(exported)
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in tensors_of(pretrained).items())
    assert pretrained.form.export.model_class == "BertForPreTraining" and not pretrained.new + pretrained.left_out
    assert pretrained.vocab_size == 11 and pretrained.config.max_position_embeddings == 32


def test_reading_draws_no_random_numbers(exported):
    """An import during a run does not change the run's next random numbers, with new heads either."""
    rewrite(exported, lambda tensors: tensors.pop(HEAD))
    state = torch.get_rng_state()
    read(exported, new_heads=True)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("model_class", ["BertModel", "BertForSequenceClassification", "BertForQuestionAnswering"])
def test_missing_heads_are_drawn_only_if_asked_for(model_class, tmp_path):
    """Of an encoder, or a fine-tuned model, the encoder is kept; the masked-token head is drawn from the family's
    initial distribution if that was asked for, and else an error names what is missing and the remedy.
    """
    model = bert(model_class)
    directory = saved(model, tmp_path / "bare")
    with pytest.raises(ValueError, match=r"bare: missing cls\.predictions.* of BertForMaskedLM; pass --new_heads true"):
        read(directory)
    pretrained = read(directory, new_heads=True)
    theirs, expected = tensors_of(pretrained), {f"bert.{n}": t for n, t in model.base_model.state_dict().items()}
    kept = [name for name in theirs if name.startswith("bert.")]
    assert kept and all(torch.equal(theirs[name], expected[name]) for name in kept)
    assert HEAD in pretrained.new and len(pretrained.new) == 5
    torch.manual_seed(12345)
    fresh = FAMILY.build(pretrained.config, 11).state_dict()
    assert torch.equal(theirs[HEAD], fresh["mlm_head.dense.weight"])
    assert theirs[HEAD].abs().max() <= 2 * 0.02 and theirs[HEAD].std() > 0.01
    fine_tuned = [name for name in model.state_dict() if name.startswith(("classifier", "qa_outputs"))]
    poolers = [name for name in expected if "pooler" in name]
    assert pretrained.left_out == tuple(sorted([*fine_tuned, *poolers]))


def test_the_class_may_be_chosen(exported, tmp_path):
    """A class with fewer heads leaves the others out; one with more heads needs new ones; another one is an error."""
    fewer = read(exported, model_class="BertForMaskedLM")
    assert not fewer.config.next_sentence and not fewer.new
    assert {name.partition(".weight")[0].partition(".bias")[0] for name in fewer.left_out} == {
        "bert.pooler.dense",
        "cls.seq_relationship",
    }
    more = saved(bert("BertForMaskedLM"), tmp_path / "masked")
    assert not read(more).config.next_sentence and not read(more).new
    with pytest.raises(ValueError, match=r"missing bert\.pooler.* of BertForPreTraining; pass --new_heads"):
        read(more, model_class="BertForPreTraining")
    assert len(read(more, model_class="BertForPreTraining", new_heads=True).new) == 4
    with pytest.raises(ValueError, match="--model_class BertModel: the bert family has BertForPreTraining, BertForM"):
        read(exported, model_class="BertModel")


def test_an_encoder_is_never_completed(exported):
    """A missing parameter of the encoder is an error even where heads may be drawn."""
    rewrite(exported, lambda tensors: tensors.pop(QUERY))
    with pytest.raises(ValueError, match=f"missing {QUERY}"):
        read(exported, new_heads=True)


def test_rows_are_cut_from_embeddings_and_bias(exported):
    """Fewer rows are the first ones of the embeddings and of the bias, and the decoder stays tied."""
    before = read(exported)
    after = with_rows(before, 7)
    assert after.vocab_size == 7 and before.vocab_size == 11
    for name in ("encoder.embeddings.word.weight", "mlm_head.decoder.bias"):
        assert torch.equal(after.state_dict[name], before.state_dict[name][:7])
    tied = after.state_dict["mlm_head.decoder.weight"]
    assert tied.data_ptr() == after.state_dict["encoder.embeddings.word.weight"].data_ptr()


def test_a_model_of_another_family_is_one_error(tmp_path):
    """RoBERTa's tensors read as BERT are an error that names some of them."""
    config = transformers.RobertaConfig(vocab_size=11, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    transformers.RobertaForMaskedLM(config).save_pretrained(tmp_path / "other")
    reconfigure(tmp_path / "other", model_type="bert")
    with pytest.raises(ValueError, match=r"other: the Hugging Face state dict does not fit: .*unknown lm_head"):
        read(tmp_path / "other", new_heads=True)


def test_names_of_older_checkpoints_are_read(exported, whole):
    """An import accepts `gamma` and `beta` as names, and the buffers that transformers saved formerly."""

    def age(tensors):
        for name in [name for name in tensors if "LayerNorm" in name]:
            tensors[name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")] = (
                tensors.pop(name)
            )
        tensors["bert.embeddings.position_ids"] = torch.arange(512)[None]

    rewrite(exported, age)
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in tensors_of(read(exported)).items())


QUERY = "bert.encoder.layer.1.attention.self.query.weight"
DAMAGED_WEIGHTS = {
    "NaN": (lambda t: t[QUERY].fill_(float("nan")), f"{QUERY}: holds NaN or infinite values"),
    "missing": (lambda t: t.pop(QUERY), "missing"),
    "superfluous": (lambda t: t.update(extra=torch.zeros(2)), "unknown extra"),
    "a layer more": (
        lambda t: t.update({k.replace("layer.1", "layer.2"): v + 0 for k, v in t.items() if "layer.1" in k}),
        "num_hidden_layers = 2, but the weights hold 3 layers",
    ),
    "shape": (lambda t: t.update({QUERY: torch.zeros(8, 16)}), r"qkv\.weight is \(40, 16\) in the weights, \(48, 16\)"),
    "integers": (lambda t: t.update({QUERY: torch.zeros(16, 16, dtype=torch.int8)}), "holds torch.int8"),
    "ties": (
        lambda t: t.update({"cls.predictions.decoder.weight": torch.zeros(11, 16)}),
        "cls.predictions.decoder.weight differs from bert.embeddings.word_embeddings.weight",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED_WEIGHTS)
def test_weights_that_do_not_fit_are_one_clear_error(exported, damage):
    """Weights that do not fit are an error that names the directory; none is silently dropped, cut or added."""
    change, message = DAMAGED_WEIGHTS[damage]
    rewrite(exported, change)
    with pytest.raises(ValueError, match=message) as error:
        read(exported)
    assert str(error.value).startswith(str(exported)) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_hidden_layers": 10**6}, "num_hidden_layers = 1000000, but the weights hold 2 layers"),
        ({"num_hidden_layers": 10**30}, "must be a number of at most"),
        ({"hidden_size": -16}, "hidden_size"),
        ({"hidden_size": "16"}, "hidden_size = '16': must be of type int"),
        ({"hidden_size": True}, "hidden_size = True: must be of type int"),
        ({"intermediate_size": 2**31 - 1}, r"intermediate\.weight is \(24, 16\) in the weights"),
        ({"max_position_embeddings": 2**31 - 1, "hidden_size": 2**31 - 2}, "no model has these sizes|in the weights"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps"),
        ({"type_vocab_size": 1}, "type_vocab_size"),
        ({"vocab_size": 10}, "vocab_size = 10, but the weights hold 11 tokens"),
        ({"hidden_act": ["gelu"]}, "hidden_act"),
        ({"model_type": "roberta"}, "model_type = 'roberta'"),
    ],
)
def test_configurations_that_do_not_fit_are_one_clear_error(exported, values, message):
    """A configuration that does not fit is an error before memory is allocated for a tensor."""
    reconfigure(exported, **values)
    with pytest.raises(ValueError, match=message) as error:
        read(exported)
    assert str(error.value).startswith(str(exported)) and "\n" not in str(error.value)


def test_import_names_the_directory_it_cannot_read(exported, tmp_path):
    """A directory without a model, and a model that the family does not compute, are errors that name the directory."""
    with pytest.raises(ValueError, match="nowhere: no such file or directory"):
        read(tmp_path / "nowhere")
    reconfigure(exported, is_decoder=True)
    with pytest.raises(ValueError, match=r"out: config\.json: is_decoder = True"):
        read(exported)
