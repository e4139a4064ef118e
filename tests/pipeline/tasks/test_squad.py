"""Files in the form of SQuAD are read; what is wrong with one is said with the question."""

import gzip
import json

import pytest
from finetuning_data import write_squad

from pipeline.tasks.config import SquadConfig
from pipeline.tasks.squad import read_squad

CONTEXT = "w1 w2 w3. w5 w6"


def asked(number, text="w2", start=3, **fields):
    """A question in the form of the file."""
    return {"id": f"q{number}", "question": "w9?", "answers": [{"text": text, "answer_start": start}], **fields}


@pytest.mark.parametrize("suffix", ["json", "json.gz"])
def test_questions_of_both_versions(tmp_path, suffix):
    """A file with is_impossible is one of SQuAD 2.0, whose questions may have no answer."""
    write_squad(tmp_path / f"train-v1.1.{suffix}", [(CONTEXT, [asked(1), asked(2, "w6", 13)])])
    write_squad(tmp_path / f"dev-v1.1.{suffix}", [(CONTEXT, [asked(1)])])
    found = read_squad(tmp_path, SquadConfig())
    assert not found.may_lack_answers and [question.id for question in found.splits["train"]] == ["q1", "q2"]
    assert found.splits["train"][1].answers == ((13, "w6"),)
    write_squad(tmp_path / f"dev-v1.1.{suffix}", [(CONTEXT, [asked(1, is_impossible=True), asked(2)])])
    found = read_squad(tmp_path, SquadConfig())
    assert found.may_lack_answers and [question.answers for question in found.splits["dev"]] == [(), ((3, "w2"),)]


def test_one_file_is_divided_by_article(tmp_path):
    """All questions of an article are in one split, which does not depend on the order of articles in the file."""
    articles = [(f"{CONTEXT} {number}", [asked(number), asked(number + 10)]) for number in range(6)]
    write_squad(tmp_path / "all.json", articles)
    config = SquadConfig(train="all.json", dev_share=0.3)
    found = read_squad(tmp_path, config).splits
    contexts = {split: {question.context for question in questions} for split, questions in found.items()}
    assert [len(found[split]) for split in ("train", "dev")] == [8, 4]
    assert not contexts["train"] & contexts["dev"]
    write_squad(tmp_path / "all.json", articles[:1])
    with pytest.raises(ValueError, match=r"squad.dev_share = 0.3: the file has one article"):
        read_squad(tmp_path, config)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (asked(1, "w3", 3), r"train.json, question q1: the answer 'w3' is not in its context at answer_start = 3"),
        (asked(1, "w1", -15), r"question q1: the answer 'w1' is not in its context at answer_start = -15"),
        (asked(1, "", 3), r"question q1: the answer '' is not in its context"),
        (asked(1) | {"answers": []}, r"question q1: has no answer, as in SQuAD 2.0; set squad.version = 2.0"),
        (asked(1) | {"answers": None}, r"question q1: has no answers of type list"),
        (asked(1) | {"question": " "}, r"question q1: question or context is empty"),
        (asked(0), r"question q0: another question has this id"),
        (asked(1) | {"question": "\ud800"}, r"question q1: has no question of type str"),
    ],
)
def test_wrong_questions_are_named(tmp_path, question, message):
    """A wrong question is an error that names file, question and remedy."""
    write_squad(tmp_path / "train.json", [(CONTEXT, [asked(0), question])])
    write_squad(tmp_path / "dev.json", [(CONTEXT, [asked(0)])])
    with pytest.raises(ValueError, match=message):
        read_squad(tmp_path, SquadConfig())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"train.json: is no JSON"),
        (b"[]", r"train.json: has no data of type list; give a file in the form of SQuAD"),
        (b'{"data": [{"paragraphs": [{"qas": []}]}]}', r"train.json, data\[0\]: has no context of type str"),
        (b'{"data": []}', r": the split train has no questions; give a file with questions"),
    ],
)
def test_wrong_files_are_named(tmp_path, content, message):
    """A file in another form is an error that names it."""
    (tmp_path / "train.json").write_bytes(content)
    write_squad(tmp_path / "dev.json", [(CONTEXT, [asked(0)])])
    with pytest.raises(ValueError, match=message):
        read_squad(tmp_path, SquadConfig())


def test_the_files_of_a_split_are_one(tmp_path):
    """Several files of a split are an error that names them, and so is none."""
    with pytest.raises(ValueError, match=r"has no train\*.json or .json.gz; name the file with squad.train"):
        read_squad(tmp_path, SquadConfig())
    for name in ("train-v1.1.json", "train-v2.0.json"):
        write_squad(tmp_path / name, [(CONTEXT, [asked(0)])])
    with pytest.raises(ValueError, match=r"several files train\*.json \(train-v1.1.json, train-v2.0.json\)"):
        read_squad(tmp_path, SquadConfig())
    with pytest.raises(ValueError, match=r"has no dev\*.json or .json.gz; name the file with squad.dev or, with one"):
        read_squad(tmp_path, SquadConfig(train="train-v2.0.json"))
    (tmp_path / "dev.json.gz").write_bytes(gzip.compress(json.dumps({"data": []}).encode())[:-9])
    with pytest.raises(ValueError, match=r"dev.json.gz: is no JSON"):
        read_squad(tmp_path, SquadConfig(train="train-v2.0.json"))
    damaged = bytearray(gzip.compress(b"abc" * 500))
    damaged[12:14] = b"\xff\xff"  # not a checksum: the compressed data itself
    (tmp_path / "dev.json.gz").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"dev.json.gz: is no JSON"):
        read_squad(tmp_path, SquadConfig(train="train-v2.0.json"))
