"""Fine-tuning from its command line to the model: resumed runs, what is written, what is refused."""

import json
import shutil

import matplotlib.pyplot as plt
import pytest
import torch
import transformers
from finetuning_data import options, read_json, write_model, write_sst2
from finetuning_runs import interrupt_after, metrics_of
from huggingface_hub import ModelCard
from jsonargparse import ArgumentError
from safetensors.torch import load_file

from pipeline.finetune import finetune
from pipeline.predict import predict
from pipeline.report import report
from pipeline.reporting.figures import curves, save_curves
from pipeline.reporting.follow import figures
from pipeline.reporting.page import glance, make
from pipeline.reporting.watch import Watch
from pipeline.runlog.reader import read_runs
from pipeline.runtime.command import USER_ERRORS
from pipeline.runtime.signals import InterruptedRunError


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
    assert metrics_of(tmp_path / "run") == metrics_of(finished)
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
    found = [line["accuracy"] for line in metrics_of(finished) if line["kind"] == "heldout"]
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
    assert ("accuracy", f"{found[-1]:.4f}") in figures(metrics_of(finished)[-1], Watch(finished).look())


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
