"""Examples, losses and errors of classification and regression."""

import json

import numpy as np
import pytest
import torch
from finetuning_data import write_tsv
from torch.nn import functional

from pipeline.data.template import Template
from pipeline.tasks.classification import balanced_weights, read_classification
from pipeline.tasks.config import TextConfig
from pipeline.tasks.encoding import Sequences, batch_of

SEQUENCES = Sequences(lambda texts: [[len(text)] for text in texts], {"cls": 0, "sep": 1, "pad": 2}, Template(), 16)


def read(directory, balanced=False, **text):
    return read_classification("classification", directory, TextConfig(**text), SEQUENCES, balanced)


def write(directory, train, dev):
    for split, rows in (("train", train), ("dev", dev)):
        write_tsv(directory / f"{split}.tsv", ("text", "label"), rows)


@pytest.mark.parametrize(
    ("labels", "classes"), [(["10", "9", "10"], ("9", "10")), (["pos", "neg", "pos"], ("neg", "pos"))]
)
def test_classes_are_those_of_the_training_examples(tmp_path, labels, classes):
    """Classes are in ascending order, and in that of their numbers where all are numbers."""
    write(tmp_path, [("a", label) for label in labels], [("b", labels[0])])
    task = read(tmp_path)
    assert (task.labels, task.outputs) == (classes, 2)
    assert task.values["train"].tolist() == [classes.index(label) for label in labels]


@pytest.mark.parametrize(
    ("train", "dev", "text", "message"),
    [
        (["0", "1"], ["2"], {}, r"dev.tsv:2: label = '2': must be one of 0, 1; correct or remove the row"),
        (["0", "0"], ["0"], {}, r"train.tsv:2: all 2 training examples have the label '0'"),
        (["0.5", "x"], ["1"], {"regression": True}, r"train.tsv:3: label = 'x': must be a finite number"),
        (["0.5", "nan"], ["1"], {"regression": True}, r"train.tsv:3: label = 'nan': must be a finite number"),
        (["0.5", "1e300"], ["1"], {"regression": True}, r"train.tsv:3: label = '1e300': must be a finite number"),
        (["0", "1", ""], ["0"], {}, r"train.tsv:4: label = '': must be text or a number; label or remove the row"),
        (
            ["0", "1"],
            ["0"],
            {"first": "sentence"},
            r"train.tsv:2: has no column 'sentence', only 'text', 'label'; rename one",
        ),
    ],
)
def test_wrong_rows_are_named(tmp_path, train, dev, text, message):
    """A wrong row is an error that names file, line and remedy."""
    write(tmp_path, [("a", label) for label in train], [("b", label) for label in dev])
    with pytest.raises(ValueError, match=message):
        read(tmp_path, **text)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"text": "c", "label": None},
            r"train.jsonl:2: label = None: must be text or a number; label or remove the row",
        ),
        ({"text": "c", "label": float("nan")}, r"train.jsonl:2: label = nan: must be text or a number"),
        ({"text": "c", "label": [1]}, r"train.jsonl:2: label = \[1\]: must be text or a number"),
        ({"text": "c", "label": "\ud800"}, r"train.jsonl:2: label = .*: must be text or a number"),
        ({"text": None, "label": 1}, r"train.jsonl:2: text = None: must be Unicode text; correct it, or name another"),
        ({"text": "\ud800", "label": 1}, r"train.jsonl:2: text = .*: must be Unicode text"),
        ({"label": 1}, r"train.jsonl:2: has no column 'text', only 'label'"),
    ],
)
def test_values_that_are_no_text_are_named(tmp_path, row, message):
    """A missing value is no class of its own, and half of a surrogate pair is no text."""
    good = json.dumps({"text": "a", "label": 0}) + "\n"
    (tmp_path / "train.jsonl").write_text(good + json.dumps(row) + "\n")
    (tmp_path / "dev.jsonl").write_text(good)
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


def test_missing_and_doubled_tables_are_named(tmp_path):
    """The error says which tables would be read."""
    with pytest.raises(ValueError, match=r"has no train\{.tsv,.csv,.jsonl,.parquet\}; write the train examples there"):
        read(tmp_path)
    write(tmp_path, [("a", "0")], [("a", "0")])
    (tmp_path / "validation.csv").write_text("text,label\na,0\n")
    with pytest.raises(ValueError, match=r"has both dev\.tsv and validation\.csv"):
        read(tmp_path)


def test_losses_are_sums_over_examples(tmp_path):
    """The loss is a sum of squared differences, or of cross entropies whose weights have the mean 1."""
    write(tmp_path, [("a", "0"), ("b", "0"), ("c", "0"), ("d", "1")], [("e", "1")])
    rows, logits = np.array([0, 3]), torch.tensor([[0.5, -1.0], [0.2, 0.1]])
    weighted = read(tmp_path, balanced=True)
    batch = batch_of(weighted.splits["train"], rows, weighted.targets("train", rows), SEQUENCES)
    each = functional.cross_entropy(logits, torch.tensor([0, 1]), reduction="none")
    assert weighted.weights.tolist() == pytest.approx([4 / 6, 4 / 2])
    assert weighted.weights[weighted.values["train"]].mean() == pytest.approx(1)
    assert weighted.loss(logits, batch) == pytest.approx(float(each[0] * 4 / 6 + each[1] * 2))
    assert read(tmp_path).loss(logits, batch) == pytest.approx(float(each.sum()))
    numbers = read(tmp_path, regression=True)
    batch = batch_of(numbers.splits["train"], rows, numbers.targets("train", rows), SEQUENCES)
    assert numbers.loss(logits[:, :1], batch) == pytest.approx(0.5**2 + 0.8**2)


def test_a_class_without_examples_has_a_finite_weight():
    """GLUE's classes are given, whether the training examples have them or not."""
    assert torch.isfinite(balanced_weights(np.array([0, 0, 1]), 3)).all()


def test_predictions_are_written_as_glue_expects_them(tmp_path):
    """A line has the number of the example, and the name of its class or a number with three decimals."""
    data = tmp_path / "data"
    write(data, [("a", "no"), ("b", "yes")], [("c", "yes")])
    logits = np.array([[0.0, 1.0], [2.0, 1.0]], np.float32)
    written = read(data).write_predictions("test", logits, tmp_path)
    assert written.read_text() == "index\tprediction\n0\tyes\n1\tno\n"
    write(data, [("a", "1"), ("b", "2")], [("c", "3")])
    written = read(data, regression=True).write_predictions("test", np.array([[2.5]], np.float32), tmp_path)
    assert written.read_text() == "index\tprediction\n0\t2.500\n"


def test_windows_have_the_label_of_their_text(tmp_path):
    """Windows are the examples of training; metrics are those of texts, by their pooled logits."""
    sequences = Sequences(lambda texts: [[5] * len(text) for text in texts], {"cls": 0, "sep": 1}, Template(), 6)
    write(tmp_path, [("abcdefgh", "1"), ("ab", "0")], [("abcdef", "1"), ("abc", "0")])
    text = TextConfig(max_length=6, long="window", stride=2)
    task = read_classification("classification", tmp_path, text, sequences, True)
    assert task.owners["train"].tolist() == [0, 0, 0, 1] and len(task.splits["train"]) == 4
    assert task.targets("train", np.array([3, 2, 0]))["labels"].tolist() == [0, 1, 1]
    assert task.owners["dev"].tolist() == [0, 0, 1]
    logits = np.array([[0, 3], [1, 0], [0, 1]], np.float32)
    assert task.predictions("dev", logits).tolist() == [1, 1]
    assert task.measure("dev", logits)["accuracy"] == 0.5
    assert task.config_fields({})["long_texts"] == {"max_length": 6, "stride": 2, "pooling": "mean"}
    assert task.notes == ("train: 2 texts, 4 windows", "dev: 2 texts, 3 windows")


def test_windows_of_pairs_are_refused(tmp_path):
    """A task of GLUE with two texts is not divided."""
    for split in ("train", "dev"):
        write_tsv(tmp_path / f"{split}.tsv", ("sentence1", "sentence2", "label"), [("a", "b", "entailment")])
    with pytest.raises(ValueError, match=r"text.long = window: rte has pairs of texts, which are not divided; set cut"):
        read_classification("rte", tmp_path, TextConfig(long="window"), SEQUENCES, False)
