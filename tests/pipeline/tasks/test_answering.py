"""Question answering: loss and answers equal those of `transformers`, and the files of the evaluation script."""

import json

import numpy as np
import pytest
import torch
import transformers
from finetuning_data import VOCAB_SIZE, write_model, write_squad

from pipeline.conversion import huggingface, task_models
from pipeline.families import get_family
from pipeline.jobs.inference import compute_logits
from pipeline.tasks.answering import read_answering
from pipeline.tasks.config import SquadConfig
from pipeline.tasks.encoding import Sequences, batch_of, pieces_of, tokens_of

CONTEXT = "W1p4 w2 w3. (w5) w6p8 w7 w9 w1 w2 w3 w5 w6"


def asked(number, text, **fields):
    """A question whose answer is the first occurrence of a text; without a text there is none."""
    answers = [{"text": text, "answer_start": CONTEXT.index(text)}] if text else []
    return {"id": f"q{number}", "question": f" w{number + 1} w9 w2?", "answers": answers, **fields}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The directory of a model."""
    return write_model(tmp_path_factory.mktemp("squad") / "model")


def read(model, data, max_length=20, **settings):
    tokenizer = huggingface.load_tokenizer(model)
    ids = {role: getattr(tokenizer, f"{role}_token_id") for role in ("cls", "sep", "pad")}
    sequences = Sequences(tokens_of(tokenizer), ids, get_family("bert").template, max_length)
    config = SquadConfig(**{"max_question": 6, "stride": 4} | settings)
    return read_answering(data, config, sequences, pieces_of(tokenizer)), sequences


def write(directory, *questions):
    for split in ("train", "dev"):
        write_squad(directory / f"{split}.json", [(CONTEXT, list(questions))])


def test_tokens_and_loss_are_those_of_transformers(model, tmp_path):
    """Windows have the tokens of `transformers` with an overlap, and the loss of each one is that of its class."""
    write(tmp_path, asked(0, "w3. (w5)"), asked(1, "w6p8 w7"), asked(2, "", is_impossible=True))
    task, sequences = read(model, tmp_path)
    family = get_family("bert")
    begun = task_models.begin(model, family, family.heads["spans"], 2, 0.0, vocab_size=VOCAB_SIZE, seed=5)
    ours, theirs = begun.model.eval(), transformers.BertForQuestionAnswering.from_pretrained(model).eval()
    theirs.qa_outputs.load_state_dict(ours.head.classifier.state_dict())
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    windows, number = task.asked["train"].windows, 0
    logits = compute_logits(ours, task.splits["train"], sequences, max_tokens=50)
    ends = np.cumsum(windows.encoded.lengths)
    for question in task.asked["train"].questions:
        room = 20 - 3 - len(tokenizer(question.question)["input_ids"]) + 2
        inputs = tokenizer(
            question.question,
            question.context,
            max_length=20,
            truncation="only_second",
            stride=room - 4,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for row, ids in enumerate(inputs["input_ids"]):
            rows = np.array([number])
            batch = batch_of(task.splits["train"], rows, task.targets("train", rows), sequences)
            assert batch.input_ids.tolist() == ids
            spans = batch.targets["spans"]
            text = question.answers[0].text if question.answers else ""
            offsets = inputs["offset_mapping"][row]
            if spans.any():
                first, last = spans[0].tolist()
                assert question.context[offsets[first][0] : offsets[last][1]] == text
            expected = theirs(
                torch.tensor([ids]),
                token_type_ids=torch.tensor([inputs["token_type_ids"][row]]),
                start_positions=spans[:, 0],
                end_positions=spans[:, 1],
            )
            torch.testing.assert_close(task.loss(ours(batch), batch), expected.loss, rtol=0, atol=1e-5)
            found = torch.from_numpy(logits[ends[number] - len(ids) : ends[number]])
            torch.testing.assert_close(found[:, 0], expected.start_logits[0], rtol=0, atol=1e-5)
            number += 1
    assert number == len(windows.questions) and (task.asked["train"].targets[:, 0] > 0).any()


def test_the_loss_of_a_batch_is_the_sum_of_those_of_its_windows(model, tmp_path):
    """Windows of different lengths do not affect each other."""
    write(tmp_path, asked(0, "w3. (w5)"), asked(1, "w6p8 w7"))
    task, sequences = read(model, tmp_path, stride=9)
    rows = np.arange(len(task.splits["train"]))
    logits = torch.randn(int(task.splits["train"].lengths.sum()), 2, generator=torch.Generator().manual_seed(0))
    batch = batch_of(task.splits["train"], rows, task.targets("train", rows), sequences)
    assert len(set(batch.lengths.tolist())) > 1
    parts = logits.split(batch.lengths.tolist())
    losses = [
        task.loss(part, batch_of(task.splits["train"], row[None], task.targets("train", row[None]), sequences))
        for row, part in zip(rows, parts, strict=True)
    ]
    torch.testing.assert_close(task.loss(logits, batch), sum(losses))


def perfect(task, split):
    """Logits that are right: high at the first and the last token of each answer, or at the first of the sequence."""
    logits = np.zeros((int(task.splits[split].lengths.sum()), 2), np.float32)
    begins = np.cumsum(task.splits[split].lengths) - task.splits[split].lengths
    for column in (0, 1):
        logits[begins + task.asked[split].targets[:, column], column] = 5
    return logits


def test_metrics_and_files_of_both_versions(model, tmp_path):
    """Right logits have a score of 1, and the files are those that SQuAD's evaluation scripts read."""
    for version, questions in (
        ("1.1", (asked(0, "w3. (w5)"), asked(1, "w6p8 w7"))),
        ("2.0", (asked(0, "w3. (w5)"), asked(2, "", is_impossible=True))),
    ):
        data = tmp_path / version
        write(data, *questions)
        task, _ = read(model, data, max_length=32)
        logits = perfect(task, "dev")
        metrics = task.measure("dev", logits)
        assert (metrics["f1"], metrics["exact"]) == (1, 1)
        predicted = json.loads(task.write_predictions("dev", logits, data).read_text())
        assert predicted["q0"] == "w3. (w5)" and all(predicted[key] == "" for key in predicted if key == "q2")
        best = json.loads((data / "dev_nbest.json").read_text())["q0"]
        assert best[0]["text"] == "w3. (w5)" and best[0]["probability"] > best[1]["probability"]
        assert (data / "dev_null_odds.json").exists() == task.may_lack_answers == (version == "2.0")
    odds = json.loads((data / "dev_null_odds.json").read_text())
    assert odds["q0"] < 0 < odds["q2"] and metrics["null_threshold"] == odds["q0"]
    assert metrics["has_answer_f1"] == metrics["no_answer_f1"] == 1
    assert task.config_fields(metrics) == {"null_threshold": odds["q0"]}


def test_what_is_cut_is_counted(model, tmp_path):
    """Questions that are cut and answers that fit into no window are counted."""
    write(tmp_path, asked(0, CONTEXT[5:]), asked(1, "w2"))
    task, _ = read(model, tmp_path, max_length=12, max_question=3, stride=3)
    assert "train: 2 questions are cut to squad.max_question = 3" in task.notes
    assert "train: 1 answers fit into no window; their questions are trained as unanswerable" in task.notes
