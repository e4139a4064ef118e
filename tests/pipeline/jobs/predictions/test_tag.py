"""Tags of words equal those of `transformers`; entities follow from the tags."""

import json

import pytest
import torch
import transformers
from prediction_cases import write_task_model

from pipeline.jobs.predictions.tag import entities_of
from pipeline.predict import predict
from pipeline.tasks.base import class_fields


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """A model that tags words."""
    return write_task_model(tmp_path_factory.mktemp("tagger"), "tokens", 3, **class_fields(("O", "B-x", "I-x")))


def test_words_and_entities(tagger, tmp_path, capsys):
    """Words have the tags and probabilities that `transformers` computes for their first tokens; entities are spans."""
    texts = ["w1p4 w2,w3p8p12", "w9 \u200b w7.w6 !"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    predict([str(tagger), str(tmp_path / "texts.txt")])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tagger)
    loaded = transformers.AutoModelForTokenClassification.from_pretrained(tagger).eval()
    for line, text in zip(lines, texts, strict=True):
        assert line["text"] == text
        inputs = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            scores, best = loaded(**inputs).logits[0].softmax(1).max(1)
        for word in line["words"]:
            assert text[word["start"] : word["end"]] == word["word"]
            first = inputs.char_to_token(word["start"])
            if first is None:
                assert (word["tag"], word["score"]) == ("O", 1)
                continue
            assert word["tag"] == loaded.config.id2label[int(best[first])]
            assert word["score"] == pytest.approx(float(scores[first]), abs=2e-6)
        for entity in line["entities"]:
            assert text[entity["start"] : entity["end"]] == entity["text"] and entity["kind"] == "x"
    assert [word["word"] for word in lines[1]["words"]] == ["w9", "\u200b", "w7.w6", "!"]
    assert any(line["entities"] for line in lines)


def test_entities_are_those_of_the_tags():
    """An entity has the characters from its first to its last word; classes that are no tags have no entities."""
    words = [
        {"start": start, "end": start + 2, "tag": tag, "score": score}
        for start, tag, score in ((0, "B-x", 0.5), (3, "I-x", 1.0), (6, "O", 1.0))
    ]
    expected = {"kind": "x", "text": "ab cd", "start": 0, "end": 5, "score": 0.75}
    assert entities_of("ab cd ef", words, ("O", "B-x", "I-x")) == {"entities": [expected]}
    assert entities_of("ab cd ef", words, ("NOUN", "VERB")) == {}
