"""Laws of preprocessing/sources/contents.py."""

import pytest

from preprocessing.sources.contents import drop_contents
from preprocessing.sources.layout import blocks_of


def blocks(text):
    """Blocks of lines."""
    return list(blocks_of(text.split("\n")))


TABLES = {
    "one block": "CONTENTS\n\nChapter 1\nChapter 2\nChapter 3\n\nChapter 1\n\nIt began.",
    "title in the block": "Table of Contents:\nI. The Sea\nII. The Land\nIII. The Sky\n\nI. The Sea\n\nIt began.",
    "a block each": "Contents\n\nI. THE SEA 1\n\nII. THE LAND 15\n\nIII. THE SKY 29\n\nOnce upon a time.",
    "page": "CHAPTER   PAGE\n\nThe Sea   vii\n\nThe Land    15\n\nThe Sky   29\n\nOnce upon a time.",
    "titles that come again": "CONTENTS\n\nThe Sea\nThe Land\nThe Sky\n\nThe Sea\n\nText.\n\nThe Land\n\nThe Sky",
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_tables_of_contents_go(text):
    """Title and entries; the chapter heading that is the first entry again stays, as all that follows."""
    found = blocks(text)
    kept = drop_contents(found)
    assert kept == found[-len(kept) :] and "\n".join(kept[0].lines) in (
        "Chapter 1",
        "I. The Sea",
        "Once upon a time.",
        "The Sea",
    )


@pytest.mark.parametrize(
    "text",
    [
        "Contents\n\nof the box were gone.\n\nHe wept.",
        "CONTENTS\n\nChapter 1\n\nIt began here.",
        "The contents\n\nChapter 1\nChapter 2\nChapter 3",
        "CONTENTS\n\nFirst line of\nverse that is no\nlist of anything",
    ],
)
def test_what_is_not_clearly_a_table_of_contents_stays(text):
    """Fewer than three entries, no title, or no entries."""
    assert drop_contents(blocks(text)) == blocks(text)
