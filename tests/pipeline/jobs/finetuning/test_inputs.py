"""The tokenizer of a model must have the family's special tokens; the checksum of the examples sees every change."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from finetuning_data import options, write_model, write_sst2

from pipeline.families import get_family
from pipeline.jobs.finetuning.inputs import checksum, open_inputs, read_sequences
from pipeline.jobs.finetuning.recipe import parse


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"pad_token_id": 0}, "the padding token has the id 0, the family roberta requires 1"),
        ({"sep_token_id": None}, "the tokenizer has no sep token"),
    ],
)
def test_special_tokens_are_those_of_the_family(ids, message):
    """RoBERTa's positions follow from the id of its padding token."""
    values = {"cls_token_id": 0, "sep_token_id": 2, "pad_token_id": 1} | ids
    with pytest.raises(ValueError, match=f"model: {message}"):
        read_sequences(Path("model"), SimpleNamespace(**values), get_family("roberta"), 16)


def test_the_checksum_follows_from_texts_and_labels(tmp_path):
    """Equal examples have the same checksum in any directory, and another label or word changes it."""
    model, data = write_model(tmp_path / "model"), write_sst2(tmp_path / "glue")

    def checksum_of(directory):
        return checksum(open_inputs(parse(["sst2", *options(model, directory, "unused")])).task)

    before, train = checksum_of(data), data / "SST-2" / "train.tsv"
    assert checksum_of(data / "SST-2") == before
    content = train.read_text()
    train.write_text(content.replace("\t1\n", "\t0\n", 1))
    assert checksum_of(data) != before
    train.write_text(content.replace("w1 w2", "w1 w3", 1))
    assert checksum_of(data) != before
