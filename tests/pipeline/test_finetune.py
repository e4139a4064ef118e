"""Fine-tuning from its command line to the model: resumed runs, what is written, what is refused."""

import json
import shutil
import signal
import tomllib

import matplotlib.pyplot as plt
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
    write_model,
    write_modernbert,
    write_roberta,
    write_spanbert,
    write_squad,
    write_sst2,
    write_tsv,
)
from huggingface_hub import ModelCard
from jsonargparse import ArgumentError
from safetensors.torch import load_file

from pipeline.finetune import finetune
from pipeline.jobs.finetuning.loop import Loop
from pipeline.predict import predict
from pipeline.report import report
from pipeline.reporting.figures import curves, save_curves
from pipeline.reporting.follow import figures
from pipeline.reporting.page import glance, make
from pipeline.reporting.watch import Watch
from pipeline.runlog.reader import read_runs
from pipeline.runtime.command import USER_ERRORS
from pipeline.runtime.signals import InterruptedRunError

HEAD = ("classifier.weight", "classifier.bias")
TIMES = ("time", "samples_per_second", "tokens_per_second")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the directories of a model and of its examples."""
    folder = tmp_path_factory.mktemp("finetune")
    return write_model(folder / "model"), write_sst2(folder / "glue", train=40)


@pytest.fixture(scope="module")
def finished(files, tmp_path_factory):
    """The directory of a run that was not disturbed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    stated = {"publication__license": "mit", "publication__language": '["en"]'}
    finetune(["sst2", *options(*files, out, **stated)])
    return out


def lines(run):
    """The metrics of a run without what depends on the clock."""
    read = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in TIMES} for line in read]


def interrupt_after(monkeypatch, steps):
    """A stop signal arrives when a step is done."""
    train_step = Loop.train_step

    def interrupted(loop):
        train_step(loop)
        if loop.state.step == steps:
            loop.signals.received = signal.SIGTERM

    monkeypatch.setattr(Loop, "train_step", interrupted)


@pytest.mark.parametrize("steps", [7, 10])
def test_a_resumed_run_equals_the_undisturbed_one(files, finished, tmp_path, monkeypatch, steps):
    """A run that was interrupted within or after an epoch ends with the metrics and the model of an undisturbed one."""
    arguments = ["sst2", *options(*files, tmp_path / "run")]
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        with pytest.raises(InterruptedRunError):
            finetune(arguments)
    assert not (tmp_path / "run" / "model").exists()
    finetune(arguments)
    assert lines(tmp_path / "run") == lines(finished)
    one, other = (load_file(run / "model" / "model.safetensors") for run in (tmp_path / "run", finished))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_model_is_one_of_transformers(finished):
    """It learned the task, its pipeline names the classes, and results, predictions and card are there."""
    results = read_json(finished / "results.json")
    assert results["results"]["dev"]["accuracy"] == 1
    classify = transformers.pipeline("text-classification", model=str(finished / "model"))
    assert [found["label"] for found in classify(["w5 w6 w7 w9", "w1 w2 w3 w9"])] == ["1", "0"]
    assert (finished / "predictions" / "SST-2.tsv").read_text().startswith("index\tprediction\n0\t0\n1\t1\n")
    card = (finished / "model" / "README.md").read_text()
    assert 'pipeline_tag: "text-classification"' in card and "| dev | accuracy | 1.0000 |" in card
    steps = sorted(path.name for path in (finished / "checkpoints").iterdir())
    assert steps[-1] == "step-00000015" and len(steps) <= 2


def test_its_report_has_the_metrics_of_the_task(finished, tmp_path, capsys, monkeypatch):
    """The summary, the page, the picture of the curves and the view of a running job show the metrics of dev, and the
    picture has no panel without values.
    """
    monkeypatch.chdir(tmp_path)
    report([str(finished)])
    found = [line["accuracy"] for line in lines(finished) if line["kind"] == "heldout"]
    rows = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert ["accuracy", f"{found[0]:.4f}", f"{found[-1]:.4f}"] in rows
    (run,) = read_runs([finished])
    assert [picture.slug for picture in curves([run], "accuracy")] == ["accuracy"]
    assert ["accuracy, held out", f"{found[0]:.4f} → {found[-1]:.4f}"] in [
        [row.name, *row.cells] for row in glance(make([run], 0.0))
    ]
    closed = []
    with monkeypatch.context() as patch:
        patch.setattr(plt, "close", closed.append)
        save_curves([run], tmp_path / "curves.png")
    plt.close(closed[0])
    drawn = {axis.get_title(): axis.has_data() for axis in closed[0].axes if axis.axison}
    assert drawn == dict.fromkeys(("loss (nats)", "accuracy", "learning rate", "tokens/s, all ranks"), True)
    assert ("accuracy", f"{found[-1]:.4f}") in figures(lines(finished)[-1], Watch(finished).look())


def test_the_hub_reads_the_metadata_of_its_card(files, finished):
    """Licence and language as given, task, data set, base model, metrics and results are what the hub reads."""
    card = ModelCard.load(finished / "model" / "README.md")
    data, (result,) = card.data, card.data.eval_results
    assert (data.license, data.language, data.library_name) == ("mit", ["en"], "transformers")
    assert (data.pipeline_tag, data.base_model) == ("text-classification", files[0].name)
    assert (data.datasets, data.metrics, data.model_name) == (["nyu-mll/glue"], ["accuracy"], "run")
    assert (result.task_type, result.metric_type, result.metric_value) == ("text-classification", "accuracy", 1.0)
    assert (result.dataset_type, result.dataset_config, result.dataset_split) == ("nyu-mll/glue", "sst2", "dev")
    assert "at most 16 tokens, special tokens included" in card.text and "states the licence mit." in card.text


TAGGED = ["w1:B-x w2:I-x w3:O", "w5:O w6:O w7:B-y w9:O", "w9:O w1:B-x", "w3:O w7:B-y w5:O w1:B-x w2:I-x"]


def run_twice(arguments, tmp_path, monkeypatch, steps):
    """Return the directories of an undisturbed run, and of one that was interrupted after some steps and resumed."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    finetune([*arguments, "--out", str(whole)])
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        with pytest.raises(InterruptedRunError):
            finetune([*arguments, "--out", str(resumed)])
    finetune([*arguments, "--out", str(resumed)])
    return whole, resumed


def assert_equal_runs(one, other):
    """The runs have the same metrics and the same model."""
    assert lines(one) == lines(other)
    weights = [load_file(run / "model" / "model.safetensors") for run in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


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


OF_FAMILY = {
    "albert": (write_albert, {"training.warmup_proportion": 0.06}),
    "electra": (write_electra, {"training.layer_decay": 0.8, "optimizer.bias_correction": False}),
    "distilbert": (write_distilbert, {"training.warmup_proportion": 0.1}),
    "spanbert": (write_spanbert, {"training.warmup_proportion": 0.1}),
    "deberta": (write_deberta, {"training.warmup_proportion": 0.05, "optimizer.bias_correction": False}),
    "modernbert": (write_modernbert, {"optimizer.beta2": 0.98, "optimizer.weight_decay": 8e-6}),
    "roberta": (write_roberta, {"optimizer.beta2": 0.98, "optimizer.weight_decay": 0.1}),
}
"""Family -> a function that writes a model of it, and some of its published settings."""


@pytest.mark.parametrize("family", OF_FAMILY)
def test_every_family_is_fine_tuned_with_its_settings(files, tmp_path, capsys, family):
    """A step with the settings of the family that `config.json` names changes the encoder, and the model predicts."""
    write, settings = OF_FAMILY[family]
    model, run = write(tmp_path / "model"), tmp_path / "run"
    once = {"training__epochs": 1, "training__batch_size": 40, "logging__every": 1}
    finetune(["sst2", *options(model, files[1], run, **once)])
    recipe = tomllib.loads((run / "recipe.toml").read_text())
    assert all(recipe[name.split(".")[0]][name.split(".")[1]] == value for name, value in settings.items())
    fields = read_json(run / "model" / "config.json")
    assert fields.get("family", fields["model_type"]).startswith(family)
    before, after = (load_file(each / "model.safetensors") for each in (model, run / "model"))
    changed = [name for name in before if name in after and not torch.equal(before[name], after[name])]
    assert changed and any(".layer" in name or "layers" in name for name in changed)
    capsys.readouterr()
    (tmp_path / "texts.txt").write_text("w1 w2 w3\n")
    predict([str(run / "model"), str(tmp_path / "texts.txt")])
    assert json.loads(capsys.readouterr().out)["label"] in {"0", "1"}


def test_a_finished_run_is_left_as_it_is(files, finished, capsys):
    """A finished run reports its results again, and is an error with another recipe."""
    before = (finished / "metrics.jsonl").read_bytes()
    finetune(["sst2", *options(*files, finished)])
    assert "has finished" in (shown := capsys.readouterr().out) and "dev: accuracy 1.0000" in shown
    assert (finished / "metrics.jsonl").read_bytes() == before
    with pytest.raises(ValueError, match=r"is a run with another recipe \(seed: 1 -> 2\); choose another out"):
        finetune(["sst2", *options(*files, finished, seed=2)])


def test_other_examples_are_refused(files, finished, tmp_path):
    """A run does not resume with other examples, nor if all of its checkpoints are damaged."""
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "results.json").unlink()
    data = write_sst2(tmp_path / "glue", train=48)
    with pytest.raises(ValueError, match="was trained on other examples; give the same data, or another out"):
        finetune(["sst2", *options(files[0], data, run)])
    for path in run.glob("checkpoints/*/rank-00000.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="no checkpoint is sound"):
        finetune(["sst2", *options(*files, run)])


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "nowhere"}, "data = nowhere: must be a directory"),
        ({"model": "nowhere"}, "nowhere has no config.json"),
        ({"out": __file__}, "out = .*: is a file; name a directory"),
        ({"text__max_length": 33}, "text.max_length = 33: must be at most 32"),
        ({"seed": -1}, "seed = -1: must be at least 0"),
    ],
)
def test_wrong_inputs_are_one_error(files, tmp_path, change, message):
    """A wrong input is one error, and leaves no directory behind."""
    arguments = options(files[0], files[1], tmp_path / "run", **change)
    with pytest.raises((ArgumentError, *USER_ERRORS), match=message):
        finetune(["sst2", *arguments])
    assert not (tmp_path / "run").exists()


def test_a_directory_that_is_no_run_is_refused(files, tmp_path):
    """A directory that is not a run is an error, and nothing is written to it."""
    (tmp_path / "notes").write_text("x")
    with pytest.raises(ValueError, match="exists and is not a run"):
        finetune(["sst2", *options(*files, tmp_path)])


def test_long_texts_are_divided_in_training_and_in_predictions(files, tmp_path, capsys):
    """A prediction is the pooled one of the windows that the fine-tuning used, by `transformers`."""
    run = tmp_path / "run"
    windows = {"text__long": "window", "text__max_length": 6, "text__stride": 3, "training__epochs": 1}
    finetune(["sst2", *options(*files, run, **windows)])
    capsys.readouterr()
    words = [f"w{number}" for number in (1, 2, 3, 9, 5, 6, 7, 9)]
    (tmp_path / "texts.txt").write_text(" ".join(words))
    predict([str(run / "model"), str(tmp_path / "texts.txt")])
    found = json.loads(capsys.readouterr().out)
    tokenizer = transformers.AutoTokenizer.from_pretrained(run / "model")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(run / "model").eval()
    parts = [" ".join(words[start : start + 4]) for start in (0, 3, 6)]
    with torch.inference_mode():
        logits = torch.stack([model(**tokenizer(part, return_tensors="pt")).logits[0] for part in parts]).mean(0)
    assert found["score"] == pytest.approx(float(logits.softmax(0).max()), abs=2e-6)
    assert found["label"] == model.config.id2label[int(logits.argmax())]
    with pytest.raises(ValueError, match="--max_length 5: the model divides long texts into windows; remove it"):
        predict([str(run / "model"), str(tmp_path / "texts.txt"), "--max_length", "5"])
