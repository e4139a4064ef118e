"""A fine-tuning from its recipe to the model: every kind of task, resumed, and every family."""

import json
import tomllib

import pytest
import torch
import transformers
from finetuning_data import (
    options,
    read_json,
    write_albert,
    write_conll,
    write_csv,
    write_deberta,
    write_distilbert,
    write_electra,
    write_megatron_bert,
    write_model,
    write_modernbert,
    write_roberta,
    write_spanbert,
    write_squad,
    write_sst2,
    write_tsv,
)
from finetuning_runs import assert_equal_runs, run_twice
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from pipeline.conversion.importing import family_of
from pipeline.finetune import finetune
from pipeline.predict import predict

HEAD = ("classifier.weight", "classifier.bias")
TAGGED = ["w1:B-x w2:I-x w3:O", "w5:O w6:O w7:B-y w9:O", "w9:O w1:B-x", "w3:O w7:B-y w5:O w1:B-x w2:I-x"]
OF_FAMILY = {
    "albert": (write_albert, {"training.warmup_proportion": 0.06}),
    "electra": (write_electra, {"training.layer_decay": 0.8, "optimizer.bias_correction": False}),
    "distilbert": (write_distilbert, {"training.warmup_proportion": 0.1}),
    "spanbert": (write_spanbert, {"training.warmup_proportion": 0.1}),
    "deberta": (write_deberta, {"training.warmup_proportion": 0.05, "optimizer.bias_correction": False}),
    "megatron_bert": (write_megatron_bert, {"training.warmup_proportion": 0.1}),
    "modernbert": (write_modernbert, {"optimizer.beta2": 0.98, "optimizer.weight_decay": 8e-6}),
    "roberta": (write_roberta, {"optimizer.beta2": 0.98, "optimizer.weight_decay": 0.1}),
}
"""Family -> a function that writes a model of it, and some of its published settings."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the directories of a model and of its examples."""
    folder = tmp_path_factory.mktemp("run")
    return write_model(folder / "model"), write_sst2(folder / "glue", train=40)


def test_tokens(files, tmp_path, monkeypatch):
    """Tags are learned, a resumed run equals the undisturbed one, and `transformers` names the entities."""
    data = write_conll(tmp_path / "data", train=TAGGED * 8, dev=TAGGED, test=TAGGED[:2])
    arguments = ["tokens", *options(files[0], data, "", text__max_length=5)]
    whole, resumed = run_twice(arguments, tmp_path, monkeypatch, 7)
    assert_equal_runs(whole, resumed)
    results = read_json(whole / "results.json")
    assert results["metric"] == "f1" and results["results"]["dev"]["f1"] == results["results"]["test"]["f1"] == 1
    assert (whole / "predictions" / "test.conll").read_text().startswith("w1\tB-x\tB-x\nw2\tI-x\tI-x\nw3\tO\tO\n\n")
    tag = transformers.pipeline("token-classification", model=str(whole / "model"), aggregation_strategy="first")
    assert [found["entity_group"] for found in tag("w1 w2 w3 w7")] == ["x", "y"]
    assert 'pipeline("token-classification", model="whole")' in (whole / "model" / "README.md").read_text()


def test_squad(files, tmp_path, monkeypatch):
    """Answers are learned on some articles and found in others; the model has the threshold for unanswerable ones. A
    resumed run equals the undisturbed one, answers included.
    """
    context, articles = "w9 w10 w1 w2 w3 w11 w5 w6 w7 w13", []
    for number in range(10):
        questions = [
            {"id": f"{number}a", "question": "w1?", "answers": [{"text": "w1 w2 w3", "answer_start": 7}]},
            {"id": f"{number}b", "question": "w14?", "answers": [], "is_impossible": True},
        ]
        articles.append((context, questions))
    write_squad(tmp_path / "data" / "all.json.gz", articles)
    changes = {"squad__train": "all.json.gz", "squad__dev_share": 0.2, "squad__max_question": 4}
    arguments = options(files[0], tmp_path / "data", "", training__epochs=8, **changes)
    run, resumed = run_twice(["squad", *arguments], tmp_path, monkeypatch, 7)
    assert_equal_runs(run, resumed)
    for name in ("dev.json", "dev_nbest.json", "dev_null_odds.json"):
        assert (run / "predictions" / name).read_bytes() == (resumed / "predictions" / name).read_bytes()
    results = read_json(run / "results.json")["results"]["dev"]
    assert results["f1"] == results["no_answer_f1"] == 1
    found = read_json(run / "predictions" / "dev.json")
    assert len(found) == 4 and set(found.values()) == {"w1 w2 w3", ""}
    config = read_json(run / "model" / "config.json")
    assert config["architectures"] == ["BertForQuestionAnswering"]
    assert config["null_threshold"] == results["null_threshold"]
    card = ModelCard.load(run / "model" / "README.md")
    assert card.data.pipeline_tag == "question-answering" and "import BertForQuestionAnswering" in card.text
    found = {(each.metric_type, each.metric_name): each.metric_value for each in card.data.eval_results}
    assert found["exact_match", "exact"] == found["f1", "no_answer_f1"] == 1 and len(found) == 4
    assert (card.data.license, card.data.datasets) == (None, None) and "No licence is stated." in card.text


def test_swag(files, tmp_path, monkeypatch):
    """The right ending is learned, the choices of a question are compared with each other, and cards name the class. A
    run that is resumed within an epoch, with batches in parts, equals the undisturbed one.
    """
    endings = ["w5 w6", "w1 w2", "w7 w9"]
    rows = []
    for number in range(24):
        shift = number % 3
        rows.append((f"w9 w{10 + number % 5}", "w3", *(endings[shift:] + endings[:shift]), str((1 - shift) % 3)))
    columns = ("sent1", "sent2", "ending0", "ending1", "ending2", "label")
    write_csv(tmp_path / "data" / "train.csv", columns, rows)
    write_csv(tmp_path / "data" / "val.csv", columns, rows[:6])
    write_csv(tmp_path / "data" / "test.csv", columns[:-1], [row[:-1] for row in rows[:3]])
    arguments = ["swag", *options(files[0], tmp_path / "data", "", training__max_tokens=60)]
    run, resumed = run_twice(arguments, tmp_path, monkeypatch, 4)
    assert_equal_runs(run, resumed)
    assert read_json(run / "results.json")["results"]["dev"]["accuracy"] == 1
    for each in (run, resumed):
        assert (each / "predictions" / "test.tsv").read_text() == "index\tprediction\n0\t1\n1\t0\n2\t2\n"
    card = (run / "model" / "README.md").read_text()
    assert 'BertForMultipleChoice.from_pretrained("whole")' in card and 'pipeline_tag: "multiple-choice"' in card


def test_regression_of_pairs_from_tables(files, tmp_path):
    """Numbers are learned, and the model says that it predicts one."""
    rows = [(f"w1 w{number}", f"w2 w{number}", str(number / 10)) for number in (1, 2, 3, 5, 6, 7, 9, 10)]
    for split in ("train", "dev"):
        write_tsv(tmp_path / "data" / f"{split}.tsv", ("a", "b", "score"), rows)
    text = {"text__first": "a", "text__second": "b", "text__label": "score", "text__regression": "true"}
    finetune(["classification", *options(files[0], tmp_path / "data", tmp_path / "run", **text)])
    assert read_json(tmp_path / "run" / "model" / "config.json")["problem_type"] == "regression"
    assert set(read_json(tmp_path / "run" / "results.json")["results"]["dev"]) >= {"pearson", "mean_squared_error"}


def test_a_frozen_encoder_keeps_its_weights(files, tmp_path, monkeypatch):
    """The head alone is trained, a resumed run equals the undisturbed one, and it may not change its model."""
    arguments = ["sst2", *options(*files, "", training__frozen_encoder="true", training__epochs=1)]
    run, resumed = run_twice(arguments, tmp_path, monkeypatch, 3)
    assert_equal_runs(run, resumed)
    before, after = (load_file(directory / "model.safetensors") for directory in (files[0], run / "model"))
    same = {name for name in after if name in before and torch.equal(before[name], after[name])}
    assert after.keys() - same == {"bert.pooler.dense.weight", "bert.pooler.dense.bias", *HEAD}
    (resumed / "results.json").unlink()
    with pytest.raises(ValueError, match=r"is a run with another recipe \(model: .*choose another out"):
        finetune([*arguments, "--out", str(resumed), "--model", str(write_model(tmp_path / "other"))])


@pytest.mark.parametrize("family", OF_FAMILY)
def test_every_family_is_fine_tuned_with_its_settings(files, tmp_path, capsys, family):
    """A step with the settings of the family that `config.json` names changes the encoder, and the model predicts."""
    write, settings = OF_FAMILY[family]
    model, run = write(tmp_path / "model"), tmp_path / "run"
    once = {"training__epochs": 1, "training__batch_size": 40, "logging__every": 1}
    finetune(["sst2", *options(model, files[1], run, **once)])
    recipe = tomllib.loads((run / "recipe.toml").read_text())
    assert all(recipe[name.split(".")[0]][name.split(".")[1]] == value for name, value in settings.items())
    assert family_of(run / "model") == family
    before, after = (load_file(each / "model.safetensors") for each in (model, run / "model"))
    changed = [name for name in before if name in after and not torch.equal(before[name], after[name])]
    assert changed and any(".layer" in name or "layers" in name for name in changed)
    capsys.readouterr()
    (tmp_path / "texts.txt").write_text("w1 w2 w3\n")
    predict([str(run / "model"), str(tmp_path / "texts.txt")])
    assert json.loads(capsys.readouterr().out)["label"] in {"0", "1"}
