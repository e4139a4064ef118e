"""Laws of preprocessing/sources/contents.py."""

import pytest

from preprocessing.sources.blocks import blocks_of
from preprocessing.sources.contents import drop_contents

# ruff: noqa: E501  # Samples in the form in which books have them.


def blocks(text):
    """Return the blocks of lines."""
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
    """Title and entries of a table of contents are removed; the first chapter heading, which repeats an entry, and all
    after it are kept.
    """
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
    """A list with fewer than three entries, without a title, or without entries is kept."""
    assert drop_contents(blocks(text)) == blocks(text)


BODY = "\n\n\n\nIt was a long day, and nobody had come to the house by the river since noon,\nso that she wept.\n"
FORMS = {
    "a long entry": "CONTENTS\n\nI. The Sea\n\nII. The Land\n\nIII. The Reverend Arthur, the Reverend Edward, Mr. Emerson and Miss Lane\nDrive Out in Carriages to See a View that Nobody of Them All Had Seen\nBefore That Day\n\nIV. The Sky",
    "synopses below titles": "CONTENTS\n\nCHAPTER I\n\nTHE EYES     3\n\nKinds of eye--Simple and compound retinas--Upright and inverted ones of\nall beasts--Their origin\n\nCHAPTER II\n\nTHE SPINE     9",
    "Roman numbers without a dot": "CONTENTS\n\nI The Sea\nII The Land\nIII The Sky\nIV The End",
    "a block for each": "CONTENTS\n\n\nI The Sea\n\nII The Land\n\nIII The Sky\n\nIV The End",
    "number words": "CONTENTS\n\nPART 1\n\n  ONE  PLAYING\n  TWO  A FEAST\n THREE  THE BOY\n\n\nPART 2\n\n  FOUR  BURDENS\n  FIVE  BEES",
    "of a volume": "CONTENTS VOLUME I\n\n1. To Smith\n2. To the Same\n3. To the Same",
    "of volume": "CONTENTS OF VOL. IV.\n\n\nPreface to the Work\n\n          The Prisoner.\n\nIntroduction      3\nSonnet      7\nThe Prisoner      13",
    "cantos": "LIST OF CANTOS\n\nHELL\n\nCanto 1\nCanto 2\nCanto 3\n\nPURGATORY\n\nCanto 1\nCanto 2",
    "plates": "LIST OF PLATES.\n\n\n             PAGE\n\n  FRONTISPIECE.\n\n  OUR PEW      11\n\n  THE WAITER AND I     23",
    "pictures without pages": "ILLUSTRATIONS\n\nTom at Home\n\nAunt Polly\n\nWho's Afraid?\n\nLate Home",
    "pictures in a block": "LIST OF ILLUSTRATIONS\nCan you be Peter?\nA red umbrella\nMeekly going to her pasture\nAfraid",
    "long names of pictures": "ILLUSTRATIONS\n\nFACING PAGE\nThe city is the last place in all the world in which wine is understood and is\n"
    'used as it was      _Frontispiece_\n\n"Railroad tickets!" said he      8\n\nA walk by night through the streets of a city that was strange\nto us all      17',
    "what chapters tell": "CONTENTS\n\nCHAPTER I.\nTalk of the Journey--Plan of the Trip--All the People that were to come with us--The\nShip\n\n"
    "CHAPTER II.\nPreparations--A Man of Weight--The Exodus of all who could go in that year--At\nSea\n\nCHAPTER III.\nThe Storm",
    "what they tell apart": "Contents.\n\nChapter I. Of Man.\n\nOrigin of man--Homologous structures--Development--Rudiments of organs in all of\nthem--The bearing.\n\n"
    "Chapter II. Of Beasts.\n\nVariability--Laws of it--Correlation.\n\nChapter III. Of Birds.",
    "entries of several lines": "CONTENTS\n\nInferno\n\n  I. The Forest.  The Hill.  The Panther, the Lion,\n     and the Wolf.\n II. The Descent.\n     Virgil's Appeal.\n"
    "     The Ladies.\nIII. The Gate.\n     The Shores.\n     Charon.",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("headings", ["", "CHAPTER I.\n\nCHAPTER II.\n\nCHAPTER III.\n\nChapter I.\n\nChapter II.\n\n"])
def test_tables_of_other_forms_go(text, headings):
    """Tables without dots, numbers or pages, of volumes and of pictures are removed, and the text below
    is kept whole.
    """
    after = BODY + "\n\n\n\n" + "\n\n\n\nShe wept.\n\n".join(headings.split("\n\n"))
    assert [block.lines for block in drop_contents(blocks(text + after))] == [block.lines for block in blocks(after)]


def test_a_table_ends_before_the_heading_of_the_text():
    """A table ends before the heading of the text, whether it lists that heading or not, and with its last entry."""
    table = "CONTENTS\n\nPREFACE\nI. The Sea      1\nII. The Land      9"
    for heading in ("\n\n\n\nPREFACE", "\n\n\n\nINTRODUCTION", "\n\n\n\n\nTHE LONG STORY", "\n\nTo my friend."):
        after = heading + BODY
        assert drop_contents(blocks(table + after))[0].lines == [heading.strip()]


@pytest.mark.parametrize(
    "text",
    [
        "ILLUSTRATIONS\n\nIt was a long day, and nobody had come to the house by the river since noon,\nso that she wept.\n\nII",
        "Contents\n\n“No,” she said.\n\n“Yes,” said he.\n\n“Why?”\n\nShe wept.",
        "CONTENTS\n\nCHAPTER I\nThe box that stood before him held nothing but a letter and a key, and when\nhe wept.\n\nHe wept.\n\nCHAPTER II",
        "PORTRAITS\n\nShe stood\nalone\n\nHe wept\nat night\n\nThey went",
        "MAPS\n\nOf all the seas,\nof every land\n\nof sky and star;\nhe dreamt",
    ],
)
def test_prose_below_such_a_title_stays(text):
    """Dialogue, paragraphs, and chapters that no table lists are kept below the title of a table."""
    assert drop_contents(blocks(text)) == blocks(text)
