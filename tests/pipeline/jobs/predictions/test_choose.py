"""The chosen ending has the largest logit of `transformers`."""

import json

import pytest
import torch
import transformers
from prediction_cases import stdin, write_task_model

from pipeline.predict import predict


def test_the_most_likely_ending(tmp_path, monkeypatch, capsys):
    """The ending has the largest of the logits that `transformers` computes for the endings of a row."""
    model = write_task_model(tmp_path, "choices", 1)
    rows = [
        {"sent1": "w1 w2", "sent2": first, "ending0": "w5", "ending1": "w6 w7", "ending2": "w9 w9"}
        for first in ("w3", "w5 w6 w7", "w11")
    ]
    monkeypatch.setattr("sys.stdin", stdin("\n".join(map(json.dumps, rows)) + "\n"))
    predict([str(model)])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    loaded = transformers.AutoModelForMultipleChoice.from_pretrained(model).eval()
    for row, line in zip(rows, lines, strict=True):
        seconds = [f"{row['sent2']} {row[f'ending{number}']}" for number in range(3)]
        inputs = tokenizer([row["sent1"]] * 3, seconds, padding=True, return_tensors="pt")
        with torch.inference_mode():
            shares = loaded(**{name: values[None] for name, values in inputs.items()}).logits[0].softmax(0)
        assert line["choice"] == int(shares.argmax()) and line["ending"] == row[f"ending{line['choice']}"]
        assert line["score"] == pytest.approx(float(shares.max()), abs=2e-6)
