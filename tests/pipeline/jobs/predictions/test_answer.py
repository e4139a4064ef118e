"""Answers follow from the logits of `transformers` and from the threshold of the model."""

import json

import pytest
import torch
import transformers
from prediction_cases import stdin, write_task_model

from pipeline.jobs.predictions.answer import threshold_of
from pipeline.predict import predict

CONTEXTS = ["w1p4 w2, (w3p8) w5.", "w9 w7 w6 w1 w2"]


def test_answers(tmp_path, monkeypatch, capsys):
    """The answer is the span of the context with the largest sum of the logits that `transformers` computes."""
    model = write_task_model(tmp_path, "spans", 2, null_threshold=1000.0)
    lines = [json.dumps({"question": "w9?", "context": context}) for context in CONTEXTS]
    monkeypatch.setattr("sys.stdin", stdin("\n".join(lines) + "\n"))
    predict([str(model)])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    loaded = transformers.AutoModelForQuestionAnswering.from_pretrained(model).eval()
    for line, context in zip(found, CONTEXTS, strict=True):
        inputs = tokenizer("w9?", context, return_tensors="pt")
        with torch.inference_mode():
            logits = loaded(**inputs)
        inside = [number for number, part in enumerate(inputs.sequence_ids()) if part == 1]
        sums = {
            (first, last): float(logits.start_logits[0, first] + logits.end_logits[0, last])
            for first in inside
            for last in inside
            if last >= first
        }
        first, last = max(sums, key=sums.get)
        assert (line["start"], line["end"]) == (inputs.token_to_chars(first).start, inputs.token_to_chars(last).end)
        assert line["answer"] == context[line["start"] : line["end"]] and line["context"] == context
        assert 0 < line["score"] < 1


def test_no_answer_above_the_threshold(tmp_path):
    """An answer is empty and has no characters where that of no answer is better by more than the threshold."""
    model = write_task_model(tmp_path, "spans", 2, null_threshold=-1000.0)
    (tmp_path / "a.jsonl").write_text(json.dumps({"q": "w9?", "context": CONTEXTS[0]}) + "\n")
    predict([str(model), str(tmp_path / "a.jsonl"), "--first", "q", "--out", str(tmp_path / "out.jsonl")])
    line = json.loads((tmp_path / "out.jsonl").read_text())
    assert (line["answer"], line["start"], line["end"]) == ("", None, None) and line["q"] == "w9?"
    with pytest.raises(ValueError, match=r"null_threshold = 'x': must be a number"):
        threshold_of({"null_threshold": "x"})
    (tmp_path / "a.txt").write_text("w1\n")
    with pytest.raises(ValueError, match=r"a.txt: has one text a line, but an example has question and context"):
        predict([str(model), str(tmp_path / "a.txt")])
