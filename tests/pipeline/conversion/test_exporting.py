"""An export of every form equals its checkpoint, or nothing is written."""

import json
import shutil

import pytest
import torch
import transformers
from finetuning_data import VOCAB_SIZE, write_deberta
from made_checkpoints import WRITERS, write_checkpoint
from safetensors.torch import load_file, save_file

from pipeline.checkpoints import checkpoint
from pipeline.conversion import exporting, huggingface, task_models
from pipeline.conversion.exported import Options
from pipeline.conversion.exporting import export_checkpoint
from pipeline.conversion.forms import FORMS
from pipeline.conversion.importing import ImportOptions, import_pretrained
from pipeline.conversion.names import to_huggingface
from pipeline.conversion.parts import divide
from pipeline.families import get_family

CLASSIFIER, ANSWERS = ("classifier.weight", "classifier.bias"), ("qa_outputs.weight", "qa_outputs.bias")
POOLER = ("pooler.dense.weight", "pooler.dense.bias")
BERT_POOLER, ROBERTA_POOLER = (tuple(f"{name}.{each}" for each in POOLER) for name in ("bert", "roberta"))
SUMMARY = ("sequence_summary.summary.weight", "sequence_summary.summary.bias")
DENSE_CLASSIFIER = tuple(
    f"classifier.{name}" for name in ("dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias")
)
PRE_CLASSIFIER = ("pre_classifier.weight", "pre_classifier.bias", *CLASSIFIER)
CLASSES = {
    "masked_lm": "ForMaskedLM",
    "encoder": "Model",
    "sequence_classification": "ForSequenceClassification",
    "token_classification": "ForTokenClassification",
    "question_answering": "ForQuestionAnswering",
    "multiple_choice": "ForMultipleChoice",
}
"""Form -> end of the name of the class in transformers."""
HEADS = {
    "bert": ("Bert", (), CLASSIFIER, CLASSIFIER),
    "roberta": ("Roberta", POOLER, DENSE_CLASSIFIER, (*ROBERTA_POOLER, *CLASSIFIER)),
    "albert": ("Albert", (), CLASSIFIER, CLASSIFIER),
    "electra": ("Electra", (), DENSE_CLASSIFIER, (*SUMMARY, *CLASSIFIER)),
    "deberta": ("DebertaV2", (), (*POOLER, *CLASSIFIER), (*POOLER, *CLASSIFIER)),
    "distilbert": ("DistilBert", (), PRE_CLASSIFIER, PRE_CLASSIFIER),
    "spanbert": ("Bert", POOLER, (*BERT_POOLER, *CLASSIFIER), (*BERT_POOLER, *CLASSIFIER)),
    "megatron_bert": ("MegatronBert", (), CLASSIFIER, CLASSIFIER),
    "modernbert": ("ModernBert", (), CLASSIFIER, CLASSIFIER),
}
"""Family -> start of the name of the class, and the parameters that a checkpoint lacks of the encoder, of the
classifier of texts and of that of choices."""
PRETRAINING = {
    "bert": "BertForPreTraining",
    "roberta": "RobertaForMaskedLM",
    "albert": "AlbertForPreTraining",
    "electra": "ElectraForPreTraining",
    "deberta": "DebertaV2ForMaskedLM",
    "distilbert": "DistilBertForMaskedLM",
    "spanbert": "BertForMaskedLM",
    "megatron_bert": "MegatronBertForPreTraining",
    "modernbert": "ModernBertForMaskedLM",
}
"""Family -> class with all heads of pre-training."""


def expected(family, form):
    """Return the name of the class in transformers, and its parameters that the checkpoint lacks."""
    start, of_encoder, of_texts, of_choices = HEADS[family]
    new = {
        "encoder": of_encoder,
        "sequence_classification": of_texts,
        "token_classification": CLASSIFIER,
        "question_answering": CLASSIFIER if family == "modernbert" else ANSWERS,
        "multiple_choice": of_choices,
    }
    return PRETRAINING[family] if form == "pretraining" else start + CLASSES[form], new.get(form, ())


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Family -> checkpoint of a model with random weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for family in WRITERS:
        write_checkpoint(folder, family)
    return folder


def export(checkpoints, family, out, form="pretraining", **options):
    return export_checkpoint(checkpoints / family, out, Options(form, **options))


def weights(directory):
    """Return the parameters of a checkpoint under their names in transformers: class of each part -> parameters."""
    state = checkpoint.read_state(directory)
    family = get_family(state["family"])
    config = checkpoint.model_config(directory, family.config, state)
    parts = divide(family, config, dict(checkpoint.Reader(directory).tensors()))
    return {part.family.export.model_class: to_huggingface(part.family, part.state_dict) for part in parts}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", WRITERS)
def test_every_form_has_the_weights_of_the_checkpoint(checkpoints, tmp_path, family, form):
    """Every class loads all its parameters, those of the checkpoint bit for bit, and computes the same as this project.

    The parameters that the checkpoint lacks are named.
    """
    exported = export(checkpoints, family, tmp_path / "out", form)
    model_class, new = expected(family, form)
    assert (exported.model_class, set(exported.new)) == (model_class, set(new))
    assert max(exported.differences.values()) <= 1e-5
    loaded, report = getattr(transformers, model_class).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report.values())
    parts = weights(checkpoints / family)
    trained = parts.get(model_class, next(iter(parts.values())))
    for name, value in loaded.state_dict().items():
        prefix = f"{loaded.base_model_prefix}."
        source = trained.get(name, trained.get(prefix + name))
        assert name in new if source is None else torch.equal(value, source), name
    card = (tmp_path / "out" / "README.md").read_text()
    assert all(name in card for name in new) and f"of the family {family} with 2 layers" in card
    assert getattr(transformers, exported.form.auto_class).from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("form", ["pretraining", "encoder"])
def test_a_head_without_a_class_is_named(checkpoints, tmp_path, form):
    """SpanBERT's head of span boundaries, which no class of `transformers` has, is named in output and card."""
    exported = export(checkpoints, "spanbert", tmp_path / "out", form)
    named = ("span_head.decoder", "span_head.first", "span_head.second")
    (line,) = [line for line in exported.text.splitlines() if line.startswith("left out: ")]
    card = (tmp_path / "out" / "README.md").read_text()
    assert all(name in line and name in card for name in named)
    assert "cls.predictions" in line or form == "pretraining"


def test_logits_of_heads_are_compared_where_the_family_has_the_head(checkpoints, tmp_path):
    """For heads of fine-tuning, hidden states are compared, and the logits if this project has the head."""
    known = export(checkpoints, "bert", tmp_path / "known", "sequence_classification", labels=3)
    assert {"hidden states", "pooled states", "logits"} == known.differences.keys()
    assert json.loads((tmp_path / "known" / "config.json").read_text())["id2label"].keys() == {"0", "1", "2"}


def test_what_transformers_ignores_is_in_the_files(tmp_path):
    """Of DeBERTa-v3, the encoder and the generator are written and compared; the detection head, the positions of the
    mask decoder and the difference of the embeddings, which `transformers` ignores, are named, and the import has all
    weights bit for bit.
    """
    write_deberta(tmp_path / "deberta-model", "replaced")
    import_pretrained(tmp_path / "deberta-model", tmp_path / "deberta", ImportOptions())
    exported = export(tmp_path, "deberta", tmp_path / "out")
    assert exported.model_class == "DebertaV2Model" and exported.form.auto_class == "AutoModel"
    assert exported.all_differences.keys() == {
        "hidden states",
        "hidden states of the generator",
        "logits of the generator",
    }
    assert not exported.left_out and not exported.further["generator"].left_out
    named = "mask_predictions.LayerNorm, mask_predictions.classifier, mask_predictions.dense"
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"deberta.embeddings.position_embeddings, {named}" in exported.text and named in card
    assert "AutoModelForMaskedLM.from_pretrained" in card
    import_pretrained(tmp_path / "out", tmp_path / "back", ImportOptions())
    before, after = (dict(checkpoint.Reader(tmp_path / name).tensors()) for name in ("deberta", "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    # A released model has the sum alone: its difference from the generator's embeddings is computed.
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    del tensors["word_embedding_difference.weight"]
    save_file(tensors, tmp_path / "out" / "model.safetensors", metadata={"format": "pt"})
    assert import_pretrained(tmp_path / "out", tmp_path / "released", ImportOptions())
    released = dict(checkpoint.Reader(tmp_path / "released").tensors())
    difference = "encoder.embeddings.word.weight"
    assert not torch.equal(released[difference], before[difference])
    torch.testing.assert_close(released[difference], before[difference], rtol=0, atol=1e-6)
    # The encoder alone, and a fine-tuning, do not need it.
    family = get_family("deberta")
    task_models.begin(tmp_path / "deberta-model", family, family.heads["sequence"], 2, 0.1, VOCAB_SIZE, seed=5)
    # A form without what serves pre-training alone is a model without a decoder.
    one = export(tmp_path, "deberta", tmp_path / "masked", "masked_lm")
    assert (one.model_class, one.omitted) == ("DebertaV2ForMaskedLM", ("DebertaV2Model",)) and one.left_out
    import_pretrained(tmp_path / "masked", tmp_path / "plain", ImportOptions())
    assert checkpoint.read_state(tmp_path / "plain")["model"]["objective"] == "masked_plain"


def test_a_masked_language_model_comes_back_bit_for_bit(checkpoints, tmp_path):
    """The import of an export of form masked_lm, in several files, has its weights, and neither pooler nor pairs."""
    export(checkpoints, "bert", tmp_path / "out", "masked_lm", max_shard_size="10KB")
    assert (tmp_path / "out" / "model.safetensors.index.json").is_file()
    assert not (tmp_path / "out" / "model.safetensors").exists()
    import_pretrained(tmp_path / "out", tmp_path / "back", ImportOptions())
    before, after = (dict(checkpoint.Reader(path).tensors()) for path in (checkpoints / "bert", tmp_path / "back"))
    assert before.keys() - after.keys() == {
        "pooler.dense.weight",
        "pooler.dense.bias",
        "pair_head.weight",
        "pair_head.bias",
    }
    assert all(torch.equal(before[name], value) for name, value in after.items())


@pytest.mark.parametrize("family", WRITERS)
def test_a_fine_tuning_begins_with_an_exported_encoder(checkpoints, tmp_path, family):
    """A fine-tuning that begins with an encoder has the encoder of the checkpoint bit for bit."""
    export(checkpoints, family, tmp_path / "out", "encoder")
    chosen = get_family(family)
    begun = task_models.begin(tmp_path / "out", chosen, chosen.heads["sequence"], 2, 0.1, VOCAB_SIZE, seed=5)
    before = dict(checkpoint.Reader(checkpoints / family).tensors())
    for name, value in begun.model.encoder.state_dict().items():
        assert torch.equal(value, before[f"encoder.{name}"]), name


def test_weights_of_16_bits_are_the_rounded_ones(checkpoints, tmp_path):
    """Weights are rounded once, the model computes the same as this project with them, and the effect is stated."""
    exported = export(checkpoints, "bert", tmp_path / "out", dtype="bfloat16")
    written, trained = (
        load_file(tmp_path / "out" / "model.safetensors"),
        weights(checkpoints / "bert")["BertForPreTraining"],
    )
    assert all(torch.equal(value, trained[name].to(torch.bfloat16)) for name, value in written.items())
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    assert max(exported.differences.values()) <= 1e-5 < max(exported.rounding.values())
    assert "rounding changes the logits by" in exported.text


def test_a_large_effect_of_rounding_is_an_error(checkpoints, tmp_path, monkeypatch):
    """Rounding that changes an output too much is an error that names the option."""
    monkeypatch.setitem(exporting.ROUNDING, torch.float16, 1e-9)
    with pytest.raises(ValueError, match=r"--dtype = float16: rounding the weights changes the logits by"):
        export(checkpoints, "bert", tmp_path / "out", dtype="float16")
    assert not list(tmp_path.iterdir())


def disturb(monkeypatch, model_class):
    """Let `transformers` compute other hidden states with the models of a class."""
    load_whole = huggingface.load_whole

    def disturbed(directory, wanted, unread):
        model = load_whole(directory, wanted, unread)
        with torch.no_grad():
            model.base_model.encoder.layer[1].output.dense.bias[3] += 0.01 * (wanted == model_class)
        return model

    monkeypatch.setattr(huggingface, "load_whole", disturbed)


@pytest.mark.parametrize(
    ("family", "form", "model_class", "output"),
    [
        ("bert", "pretraining", "BertForPreTraining", "logits"),
        ("bert", "encoder", "BertModel", "hidden states"),
        ("electra", "pretraining", "ElectraForPreTraining", "logits"),
        ("electra", "pretraining", "ElectraForMaskedLM", "logits"),
    ],
)
def test_a_model_that_computes_something_else_is_not_written(
    checkpoints, tmp_path, monkeypatch, family, form, model_class, output
):
    """If `transformers` computes other values with a part of a model, neither the model nor a temporary file is
    left.
    """
    disturb(monkeypatch, model_class)
    with pytest.raises(ValueError, match=f"transformers computes other {output}"):
        export(checkpoints, family, tmp_path / "out", form)
    assert not list(tmp_path.iterdir())


def test_a_generator_is_in_a_directory_below(checkpoints, tmp_path):
    """ELECTRA's generator is a model of its own below the discriminator, and the import of both has all weights."""
    exported = export(checkpoints, "electra", tmp_path / "out")
    generator = exported.further["generator"]
    assert (generator.model_class, generator.fields["hidden_size"]) == ("ElectraForMaskedLM", 8)
    assert exported.differences.keys() == generator.differences.keys() == {"logits", "hidden states"}
    assert "\ngenerator: ElectraForMaskedLM\n" in exported.text and "logits of the generator" in exported.text
    import_pretrained(tmp_path / "out", tmp_path / "back", ImportOptions())
    before, after = (dict(checkpoint.Reader(path).tensors()) for path in (checkpoints / "electra", tmp_path / "back"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], value) for name, value in after.items())


def test_a_generator_alone_names_what_is_left_out(checkpoints, tmp_path):
    """The form masked_lm of ELECTRA is the generator, rounded like any other model, without the discriminator."""
    exported = export(checkpoints, "electra", tmp_path / "out", "masked_lm", dtype="bfloat16")
    assert not (tmp_path / "out" / "generator").exists() and "\nleft out: ElectraForPreTraining\n" in exported.text
    assert transformers.AutoConfig.from_pretrained(tmp_path / "out").hidden_size == 8
    card = (tmp_path / "out" / "README.md").read_text()
    assert "trained beside one of the class `ElectraForPreTraining`" in card


def test_files_of_several_ranks_are_exported_as_one(checkpoints, tmp_path):
    """The export of a checkpoint that two ranks wrote has the same bytes as that of one rank."""
    parted = shutil.copytree(checkpoints / "bert", tmp_path / "parted")
    fragments = load_file(parted / "rank-00000.safetensors")
    parts: list[dict] = [{}, {}]
    for key, value in fragments.items():
        half = len(value) // 2
        stem = key.rpartition("|")[0]
        parts[0][f"{stem}|0"], parts[1][f"{stem}|{half}"] = value[:half].clone(), value[half:].clone()
    entries = {}
    for rank, tensors in enumerate(parts):
        path = parted / checkpoint.rank_file(rank)
        entries[path.name] = checkpoint.write_tensors(path, tensors)
    manifest = json.loads((parted / "manifest.json").read_text())
    manifest["files"] |= entries
    (parted / "manifest.json").write_text(json.dumps(manifest))
    export_checkpoint(parted, tmp_path / "two", Options())
    export(checkpoints, "bert", tmp_path / "one")
    assert (tmp_path / "two" / "model.safetensors").read_bytes() == (
        tmp_path / "one" / "model.safetensors"
    ).read_bytes()


def test_the_tokenizer_of_the_checkpoint_must_fit(checkpoints, tmp_path, monkeypatch):
    """A tokenizer of another size is an error before anything is compared."""
    monkeypatch.setattr(huggingface, "load_tokenizer", lambda directory: ["a"] * 3)
    with pytest.raises(ValueError, match="has 3 tokens but the model's vocabulary has 60"):
        export(checkpoints, "bert", tmp_path / "out")
    assert not list(tmp_path.iterdir())
