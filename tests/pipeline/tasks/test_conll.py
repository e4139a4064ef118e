"""Files of CoNLL-2003's and WNUT-17's form are read; what is wrong with one is said with file and line."""

import pytest

from pipeline.tasks.config import TokensConfig
from pipeline.tasks.conll import read_sentences, read_splits

TABS = "EU\tB-org\nrejects\tO\n\t\n#call\tO\n\n\n"
SPACES = "-DOCSTART- -X- -X- O\r\n\r\nEU NNP B-NP I-org\r\nrejects VBZ  B-VP O\r\n\r\n#call NN B-NP O"


@pytest.fixture
def read(tmp_path):
    """Reads a file with a content."""

    def from_text(content, may_lack_tags=False, **columns):
        (tmp_path / "a.conll").write_bytes(content.encode() if isinstance(content, str) else content)
        return read_sentences(tmp_path / "a.conll", TokensConfig(**columns), may_lack_tags)

    return from_text


@pytest.mark.parametrize(("content", "lines"), [(TABS, [1, 4]), (SPACES, [3, 6]), ("\ufeff" + TABS, [1, 4])])
def test_sentences(read, content, lines):
    """Tabs and spaces separate columns, a line with a tab alone is empty, and tags are read as IOB2."""
    found = read(content)
    assert [sentence.words for sentence in found] == [["EU", "rejects"], ["#call"]]
    assert [sentence.tags for sentence in found] == [["B-org", "O"], ["O"]]
    assert [sentence.line for sentence in found] == lines


def test_columns_are_chosen(read):
    """Columns are counted from 0, or from the last one; a word may contain a space."""
    (found,) = read("1\tNew York\tB-loc\tx\n", word_column=1, tag_column=-2)
    assert (found.words, found.tags) == (["New York"], ["B-loc"])


def test_a_test_file_may_lack_tags(read):
    """A file with a column of words alone has no tags."""
    (found,) = read("EU\nrejects\n", may_lack_tags=True)
    assert (found.words, found.tags) == (["EU", "rejects"], [])


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("a\tO\nb\tO\tO\n", {}, r"a.conll:2: has 3 columns, the first line has 2; correct it"),
        ("a\tO\n\nb\n", {}, r"a.conll:3: has 1 columns"),
        ("a\n", {}, r"a.conll:1: has no other column than that of the words; add the tags"),
        ("a\tO\n", {"tag_column": 2}, r"tokens.tag_column = 2: .*a.conll:1 has 2 columns; give one of them"),
        ("a\tO\nb\tNOUN\n", {}, r"a.conll:2: tag 'NOUN': must be O, or B-, I-"),
        ("a\tO\n\tO\n", {}, r"a.conll:2: has no word; correct or remove the line"),
        ("\n\t\n", {}, r"a.conll: has no sentences; write a word and its tag in each line"),
        ("", {}, r"a.conll: has no sentences"),
        (b"a\tO\n\xff\tO\n", {}, r"a.conll:2: is no UTF-8 text .*byte 1 of the line.*; convert it to UTF-8"),
    ],
)
def test_errors_name_file_and_line(read, content, columns, message):
    """An error names file and line and a remedy."""
    with pytest.raises(ValueError, match=message):
        read(content, **columns)


def test_files_of_each_split(tmp_path):
    """The files of WNUT-17 have their own names; a missing or a second file of a split is an error."""
    for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"):
        (tmp_path / name).write_text(TABS)
    assert set(read_splits(tmp_path, TokensConfig())) == {"train", "dev", "test"}
    (tmp_path / "train.txt").write_text(TABS)
    with pytest.raises(ValueError, match=r"has both train.txt and wnut17train.conll; keep one of them"):
        read_splits(tmp_path, TokensConfig())
    with pytest.raises(ValueError, match=r"has no train.conll; write the train sentences there"):
        read_splits(tmp_path / "nowhere", TokensConfig())
