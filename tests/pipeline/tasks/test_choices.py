"""Multiple choice: the loss equals that of `transformers`, and the choices of a question stay together."""

import numpy as np
import pytest
import torch
import transformers
from finetuning_data import VOCAB_SIZE, write_csv, write_model

from pipeline.conversion import huggingface, task_models
from pipeline.families import get_family
from pipeline.jobs.inference import compute_logits
from pipeline.tasks.choices import read_choices
from pipeline.tasks.encoding import Sequences, batch_of, divide, tokens_of

COLUMNS = ("", "startphrase", "sent1", "sent2", "ending0", "ending1", "ending2", "label")
ROWS = [
    ("0", "w1 w2", "w1 w2", "w3", "w5 w6", "w7", "w9 w1 w2 w3", "2"),
    ("1", "w9", "w9", "", "w5", "w7 w7", "w6 w2", "0"),
    ("2", "w3 w5", "w3 w5 w6, w7", "w1", "w2", "w5 w9", "w9", "1"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The directory of a model."""
    return write_model(tmp_path_factory.mktemp("choices") / "model")


def read(model, data):
    tokenizer = huggingface.load_tokenizer(model)
    ids = {role: getattr(tokenizer, f"{role}_token_id") for role in ("cls", "sep", "pad")}
    sequences = Sequences(tokens_of(tokenizer), ids, get_family("bert").template, 12)
    return read_choices(data, sequences), sequences


def write(directory, rows=ROWS, columns=COLUMNS):
    write_csv(directory / "train.csv", columns, rows)
    write_csv(directory / "val.csv", COLUMNS, ROWS[:1])
    write_csv(directory / "test.csv", COLUMNS[:-1], [row[:-1] for row in ROWS])


def test_loss_and_choices_are_those_of_transformers(model, tmp_path):
    """The loss is a softmax over the choices of each question, also if batches are divided between questions."""
    write(tmp_path)
    task, sequences = read(model, tmp_path)
    family = get_family("bert")
    begun = task_models.begin(model, family, family.heads["choices"], 1, 0.0, vocab_size=VOCAB_SIZE, seed=5)
    ours, theirs = begun.model.eval(), transformers.BertForMultipleChoice.from_pretrained(model).eval()
    theirs.classifier.load_state_dict(ours.head.classifier.state_dict())
    pairs = [(row[2], f"{row[3]} {ending}") for row in ROWS for ending in row[4:7]]
    inputs = transformers.AutoTokenizer.from_pretrained(model)(
        [one for one, _ in pairs], [other for _, other in pairs], padding=True, return_tensors="pt"
    )
    labels = torch.tensor([int(row[-1]) for row in ROWS])
    expected = theirs(**{name: values.view(3, 3, -1) for name, values in inputs.items()}, labels=labels)
    rows = np.array([2, 0, 1])
    batch = batch_of(task.splits["train"], rows, task.targets("train", rows), sequences)
    assert batch.totals["samples"] == 3 and batch.num_samples == 9
    loss = task.loss(ours(batch), batch) / batch.totals[task.term.per]
    torch.testing.assert_close(loss, expected.loss, rtol=0, atol=1e-5)
    parts = []
    for part in divide(rows, task.splits["train"].sizes[rows], 40):
        inner = batch_of(task.splits["train"], part, task.targets("train", part), sequences, batch.totals)
        parts.append(task.loss(ours(inner), inner) / batch.totals[task.term.per])
    assert len(parts) > 1
    torch.testing.assert_close(sum(parts), expected.loss, rtol=0, atol=1e-5)
    logits = compute_logits(ours, task.splits["train"], sequences, max_tokens=30)
    assert task.predictions("train", logits).tolist() == expected.logits.argmax(1).tolist()
    np.testing.assert_allclose(logits.reshape(3, 3), expected.logits.detach().numpy(), rtol=0, atol=1e-5)


def test_metrics_and_predictions(model, tmp_path):
    """Accuracy counts questions, and the test split has no labels."""
    write(tmp_path)
    task, _ = read(model, tmp_path)
    logits = np.array([[0, 1, 2, 3, 2, 1, 0, 0, 9]], np.float32).T
    assert task.measure("train", logits) == {"accuracy": pytest.approx(2 / 3)}
    assert task.predicted == ("test",)
    written = task.write_predictions("test", logits, tmp_path)
    assert written.read_text() == "index\tprediction\n0\t2\n1\t0\n2\t2\n"


def test_questions_have_equally_many_endings(model, tmp_path):
    """An ending that the first question lacks is not left out silently."""
    write(tmp_path)
    write_csv(tmp_path / "val.csv", (*COLUMNS[:-1], "ending3", "label"), [(*ROWS[0][:-1], "w1", "2")])
    with pytest.raises(ValueError, match=r"val.csv:2: has 4 endings, the first question has 3; give all questions"):
        read(model, tmp_path)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (
            [(*ROWS[0][:-1], "3")],
            COLUMNS,
            r"train.csv:2: label = '3': must be one of 0, 1, 2; correct or remove the row",
        ),
        ([(*ROWS[0][:-1], "w")], COLUMNS, r"train.csv:2: label = 'w': must be one of 0, 1, 2"),
        ([ROWS[0][1:]], COLUMNS, r"train.csv:2: has 7 columns, the header has 8"),
        (ROWS, (*COLUMNS[:4], "ending0", "a", "b", "label"), r"train.csv:2: has no column 'ending1'"),
        (ROWS, (*COLUMNS[:4], "ending0", "ending1", "ending3", "label"), r"train.csv:2: has no column 'ending2'"),
        (ROWS, ("", "a", "b", *COLUMNS[3:]), r"train.csv:2: has no column 'sent1'"),
    ],
)
def test_wrong_tables_are_named(model, tmp_path, rows, columns, message):
    """A wrong row is an error that names file, line and remedy."""
    write(tmp_path, rows, columns)
    with pytest.raises(ValueError, match=message):
        read(model, tmp_path)
