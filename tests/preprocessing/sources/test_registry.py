"""Laws of preprocessing/sources/registry.py."""

import pytest

from preprocessing.errors import DataError
from preprocessing.sources.registry import plan_sources


def test_sources_are_read_in_the_order_given(tmp_path):
    """Sources of different kinds follow each other."""
    (tmp_path / "a.txt").write_text("One.\n\nTwo.\n")
    (tmp_path / "b.jsonl").write_text('{"body": "Three."}\n')
    paths = ["jsonl:b.jsonl", "text:a.txt", "file:a.txt", "books:a.txt"]
    specifications = [specification.replace(":", f":{tmp_path}/") for specification in paths]
    texts = [record.text for split in plan_sources(specifications, 10**6, "body") for record in split.records()]
    assert texts == ["Three.", "One.\n", "Two.\n", "One.\nTwo.", "One.\nTwo."]


@pytest.mark.parametrize("specification", ["wiki.jsonl", "csv:a.csv", "jsonl:", "books:", "embedded:x"])
def test_an_unknown_source_lists_the_known(specification):
    """The message repeats what was given and what can be."""
    with pytest.raises(DataError, match=rf"'{specification}' is none of jsonl:PATH .* embedded"):
        plan_sources([specification], 10**6, "text")


def test_empty_files_are_no_corpus(tmp_path):
    """A file without bytes has no split."""
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(DataError, match="--sources: the files are empty"):
        plan_sources([f"jsonl:{tmp_path / 'a.jsonl'}"], 10**6, "text")
