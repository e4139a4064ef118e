"""The tasks of GLUE are read from the files that GLUE distributes."""

import pytest
from finetuning_data import write_tsv

from pipeline.tasks.glue import GLUE, read_splits, submission_file

HEADERS = {
    "sst2": ("sentence", "label"),
    "mrpc": ("\ufeffQuality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
    "stsb": ("index", "genre", "sentence1", "sentence2", "score"),
    "qqp": ("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
    "qnli": ("index", "question", "sentence", "label"),
    "rte": ("index", "sentence1", "sentence2", "label"),
    "wnli": ("index", "sentence1", "sentence2", "label"),
    "mnli": ("index", "genre", "sentence1", "sentence2", "label1", "gold_label"),
}
"""Columns of the training files, as far as they are read."""


@pytest.mark.parametrize("name", HEADERS)
def test_columns_of_each_task(tmp_path, name):
    """Texts and label are those of the task's columns, below the directory of all tasks or in its own."""
    task, header = GLUE[name], HEADERS[name]
    cells = [f"value of {column}" for column in header]
    dev = "dev_matched.tsv" if name == "mnli" else "dev.tsv"
    for file in ("train.tsv", dev):
        write_tsv(tmp_path / task.directory / file, header, [cells])
    for directory in (tmp_path, tmp_path / task.directory):
        splits = read_splits(task, directory)
        assert set(splits) == {"train", "dev"}
        for column in (*task.texts, task.label):
            assert splits["train"][0][column].endswith(f"value of {column}".removeprefix("\ufeff")[-4:])


def test_cola_has_no_header_and_two_dev_files(tmp_path):
    """CoLA is read in GLUE's form and as the corpus is distributed; only GLUE's test split has a header."""
    line, folder = ("gj04", "1", "", "We go."), tmp_path / "CoLA"
    for file in ("raw/in_domain_train.tsv", "raw/in_domain_dev.tsv", "raw/out_of_domain_dev.tsv"):
        write_tsv(folder / file, line, [])
    write_tsv(folder / "test.tsv", ("index", "sentence"), [("0", "You go.")])
    splits = read_splits(GLUE["cola"], tmp_path)
    assert [len(splits[split]) for split in ("train", "dev", "test")] == [1, 2, 1]
    assert (splits["dev"][1]["sentence"], splits["test"][0]["sentence"]) == ("We go.", "You go.")
    write_tsv(folder / "train.tsv", line, [line])
    assert len(read_splits(GLUE["cola"], tmp_path)["train"]) == 2


def test_splits_and_submissions_of_mnli(tmp_path):
    """Mismatched and diagnostic examples are splits of their own."""
    for file in ("train", "dev_matched", "dev_mismatched", "test_matched", "test_mismatched", "diagnostic"):
        write_tsv(tmp_path / f"{file}.tsv", ("sentence1", "sentence2"), [("a", "b")])
    splits = read_splits(GLUE["mnli"], tmp_path)
    tests = ("test", "test_mismatched", "test_diagnostic")
    assert set(splits) == {"train", "dev", "dev_mismatched", *tests}
    assert [submission_file(GLUE["mnli"], split) for split in tests] == ["MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"]
    assert submission_file(GLUE["sst2"], "test") == "SST-2.tsv"


def test_missing_files_are_named(tmp_path):
    """A missing file is an error that names it and its alternatives."""
    write_tsv(tmp_path / "train.tsv", ("a",), [("b",)])
    with pytest.raises(ValueError, match=r"has no dev.tsv or msr_paraphrase_test.txt; give the directory of MRPC"):
        read_splits(GLUE["mrpc"], tmp_path)
