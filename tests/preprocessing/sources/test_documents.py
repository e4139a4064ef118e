"""Laws of preprocessing/sources/documents.py."""

import pickle
from pathlib import Path

from preprocessing.sources import documents
from preprocessing.sources.documents import SingleFile


def test_the_kinds_of_bad_records_differ():
    """All kinds of bad records differ, since the report counts by kind."""
    kinds = [value for name, value in vars(documents).items() if name.isupper() and isinstance(value, str)]
    assert len(set(kinds)) == len(kinds) > 10


def test_a_split_of_one_file_names_it():
    """A split names the files that it reads, which extraction records, and is pickled for a worker."""
    split = SingleFile(Path("a.txt"))
    assert split.files == (Path("a.txt"),)
    assert pickle.loads(pickle.dumps(split)) == split
