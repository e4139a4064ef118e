"""The model card states what is recorded of a checkpoint, in the form that hubs read, and nothing else."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from pipeline.config import parse, plain
from pipeline.conversion.card import base_model, model_card, recipe_toml
from pipeline.conversion.exported import Exported, Options, Publication
from pipeline.conversion.provenance import Provenance
from pipeline.families import get_family
from pipeline.runlog.floors import Floors

STATE = {
    "family": "bert",
    "model": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
    },
    "vocab_size": 30522,
    "step": 1000,
    "consumed_samples": 256000,
    "tensors": {"a": [1000, 500], "b": [500]},
    "metrics": {"heldout": {"mlm_loss": 1.25, "mlm_accuracy": 0.5, "mlm_order_gap": 0.75}},
}
RECIPE = {
    "run_dir": "/home/me/run",
    "init_from": "/home/me/phase1/checkpoints/step-00000900",
    "data": {"samples": "/home/me/samples128", "earlier_samples": ["/home/me/samples64"]},
    "optimizer": {"name": "lamb", "lr": 0.004, "variant": "nvidia", "momentum": 0.95},
    "schedule": {"total_steps": 2000, "average_last": 0.1, "decay": "linear", "degree": 0.5},
}
TRAINED = STATE | {"recipe": RECIPE, "precision": "bf16", "samples": "0123abcd", "world_size": 4, "zero_stage": 1}
EXPORTED = Exported(Path("c"), "BertForMaskedLM", Options("masked_lm"), (), (), {"logits": 3.2e-7}, STATE["model"])


def card_of(state=TRAINED, exported=EXPORTED, **known):
    """Return the text of a card with single spaces, so that line ends do not matter."""
    return " ".join(model_card("mine", exported, Provenance(state, **known)).split())


def read(tmp_path, exported=EXPORTED, state=TRAINED):
    """Return the metadata as the library of the hub reads them."""
    (tmp_path / "README.md").write_text(model_card("mine", exported, Provenance(state)), encoding="utf-8")
    return ModelCard.load(tmp_path / "README.md").data


def test_the_hub_reads_the_metadata(tmp_path):
    """Library, task, tags, base model, licence, language, data sets and held-out figures are what the hub reads."""
    publication = Publication("apache-2.0", ["en", "de"], ["me/corpus"])
    data = read(tmp_path, replace(EXPORTED, options=Options("masked_lm", publication=publication)))
    assert (data.library_name, data.pipeline_tag, data.tags) == ("transformers", "fill-mask", ["bert", "fill-mask"])
    assert (data.license, data.language, data.datasets) == ("apache-2.0", ["en", "de"], ["me/corpus"])
    assert (data.base_model, data.model_name) == ("phase1", "mine")
    figures = {result.metric_name: result.metric_value for result in data.eval_results}
    assert figures == {"masked-token loss": 1.25, "masked-token accuracy": 0.5} and data.metrics == ["loss", "accuracy"]


def test_what_is_not_known_is_absent(tmp_path):
    """Without a publisher's statements, a recipe and an evaluation, the metadata have no such fields."""
    imported = STATE | {"step": 0, "metrics": {}}
    data = read(tmp_path, state=imported)
    for name in ("license", "language", "datasets", "base_model", "metrics", "eval_results"):
        assert getattr(data, name) is None, name
    card = card_of(imported)
    assert "No licence is stated." in card and "does not record how it was trained" in card
    assert "has no held-out evaluation" in card and "manifest of the training samples was not available" in card


def test_an_untrained_head_is_stated(tmp_path):
    """A model with a new head has its task, no held-out figures in the metadata, and a sentence about the head."""
    options = Options("token_classification", seed=7)
    exported = replace(EXPORTED, model_class="BertForTokenClassification", options=options, new=("classifier.weight",))
    data = read(tmp_path, exported)
    assert data.pipeline_tag == "token-classification" and data.eval_results is None
    card = card_of(exported=exported)
    assert "parameters classifier.weight are new and untrained (seed 7), so that the model must be fine-tuned" in card
    assert "AutoModelForTokenClassification.from_pretrained" in card


def test_numbers_of_the_checkpoint():
    """The card has the steps, samples, vocabulary, parameters, positions, held-out figures and processes of the
    checkpoint.
    """
    card = card_of()
    assert "vocabulary of 30,522 tokens" in card and "for 1,000 steps on 256,000 samples." in card
    assert "it has 0.5 million parameters" in card and "at most 128 tokens" in card
    assert "| masked-token loss | 1.2500 |" in card and "next-sentence loss" not in card
    assert "(weight 1), next-sentence prediction" in card  # the terms of states that do not record them
    assert "logits to 3e-07" in card
    assert "The run had 4 processes; another number" in card
    assert "The run had 1 process; another number" in card_of(TRAINED | {"world_size": 1})


def test_fields_without_effect_are_left_out():
    """The table of the training has the fields of the recipe that have an effect, and the optimizer by name."""
    card = card_of()
    assert "| Optimizer | LAMB: lr = 0.004, variant = nvidia |" in card
    assert "| Learning rate | total_steps = 2000, decay = linear |" in card
    muon = TRAINED | {"recipe": RECIPE | {"optimizer": RECIPE["optimizer"] | {"name": "muon"}}}
    assert "| Optimizer | Muon: lr = 0.004, momentum = 0.95 |" in card_of(muon)
    assert "| Precision | bf16 | | Processes | 4, ZeRO stage 1 | | Started from | another checkpoint |" in card


def test_floors_and_order_gap():
    """The masked-token loss is beside its floors and the order gap, with the number of evaluated samples."""
    card = card_of(floors=Floors(6.0, 0.125, 5.5), evaluated=512)
    assert "measured on 512 samples" in card and "frequencies of tokens | 6.0000 |" in card
    assert "without order | 5.5000 |" in card and "shuffled | 0.7500 |" in card
    assert "For comparison" not in card_of(TRAINED | {"metrics": {"heldout": {"mlm_loss": 1.0}}})


def test_averaged_weights_have_their_figures():
    """A model with averaged weights has the figures of these, and the number of steps that were averaged."""
    state = TRAINED | {"step": 2000, "metrics": {"heldout": {"mlm_loss": 1.5}, "averaged": {"mlm_loss": 1.4}}}
    card = card_of(state, replace(EXPORTED, options=Options("masked_lm", averaged=True)))
    assert "| masked-token loss | 1.4000 |" in card and "average over the last 200 steps" in card


@pytest.mark.parametrize(
    ("init_from", "name"),
    [
        ("", ""),
        (None, ""),
        ("runs/phase1", "phase1"),
        ("runs/phase1/checkpoints/step-00000100", "phase1"),
        ("imported/bert", "bert"),
    ],
)
def test_the_base_model_is_named(init_from, name):
    """The base model is the run or the imported checkpoint that the training began with."""
    assert base_model(init_from) == name


def test_the_recipe_trains_again(tmp_path):
    """The recipe of the card is one that the pipeline reads, with every field but the directories."""
    arguments = ["--data.samples", "/a/samples", "--data.earlier_samples", '["/a/s"]', "--data.until", "[0.5]"]
    changes = ["--optimizer.lr", "1e-4", "--name", 'é"\\']
    recipe = parse(["--recipe", "bert_mini", "--run_dir", "/a/run", *arguments, *changes])
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_toml(plain(recipe), {}), encoding="utf-8")
    again = parse(["--recipe", str(path), "--run_dir", "/a/run", *arguments])
    assert plain(again) == plain(recipe)
    assert "/a/" not in path.read_text(encoding="utf-8")
    assert json.dumps(RECIPE["run_dir"]) not in model_card("mine", EXPORTED, Provenance(TRAINED))


def test_a_model_in_parts_has_the_code_that_loads_them(tmp_path):
    """The card of an ELECTRA loads discriminator and generator, and names the objective of each."""
    generator = replace(EXPORTED, model_class="ElectraForMaskedLM")
    whole = replace(EXPORTED, model_class="ElectraForPreTraining", options=Options(), further={"generator": generator})
    terms = [asdict(term) for term in get_family("electra").terms]
    state = TRAINED | {"family": "electra", "terms": terms}
    state |= {"metrics": {"heldout": {"mlm_loss": 1.25, "rtd_loss": 0.25, "rtd_accuracy": 0.75}}}
    data, card = read(tmp_path, whole, state), card_of(state, whole)
    assert (data.pipeline_tag, data.tags) == ("feature-extraction", ["electra", "pretraining"])
    figures = {result.metric_name: result.metric_value for result in data.eval_results}
    of_detection = {"replaced-token loss": 0.25, "replaced-token accuracy": 0.75}
    assert figures == {"masked-token loss": 1.25, **of_detection} and data.metrics == ["loss", "accuracy"]
    assert "pre-trained by masked-token prediction and replaced-token prediction for" in card
    assert 'model = AutoModelForPreTraining.from_pretrained("mine")' in card
    assert 'generator = AutoModelForMaskedLM.from_pretrained("mine", subfolder="generator")' in card
    assert "It was trained by replaced-token prediction. The directory `generator` has the model of the class" in card
    assert "trained beside it, by masked-token prediction." in card and "logits of the generator to 3e-07" in card


def test_the_card_of_a_student_names_its_teacher():
    """Each term has its words and its unit, the masking all of its fields, and the teacher its name without a path."""
    model = STATE["model"] | {"teacher": "/home/me/runs/bert_mini/checkpoints/step-00000900"}
    family = get_family("distilbert")
    terms = [asdict(term) for term in family.of(family.config(**model)).terms]
    recipe = RECIPE | {"model": model, "masking": {"probability": 0.15, "max_predictions": 0, "whole_word": True}}
    metrics = {"heldout": {"mlm_loss": 1.25, "soft_loss": 2.5, "cos_loss": 0.5}}
    state = {"family": "distilbert", "terms": terms, "model": model, "recipe": recipe, "metrics": metrics}
    card = card_of(TRAINED | state, replace(EXPORTED, model_class="DistilBertForMaskedLM"))
    assert "by masked-token prediction, soft-target prediction and hidden-state prediction for 1,000 steps" in card
    assert "Its teacher was bert_mini." in card and 'teacher = "bert_mini"' in card and "/home/me" not in card
    assert "your own paths in `data`, `init_from` and `model.teacher` where they are set" in card
    assert "Losses are in nats; the hidden-state loss is a cosine distance." in card
    assert "| Masking | probability = 0.15, whole_word = yes |" in card
