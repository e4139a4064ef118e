"""Laws of preprocessing/sources/gutenberg.py."""

import pytest

from preprocessing.sources.gutenberg import strip_boilerplate

# ruff: noqa: E501  # Samples in the form in which books have them.

BOOK = "CHAPTER I\n\nIt was a dark night.\n\nTHE END"
LICENCE = "\n\nPROJECT GUTENBERG LICENSE. " + "You may copy it, give it away or re-use it.\n" * 400

HEADERS = {
    "today": "The Project Gutenberg eBook of X\n\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\n",
    "this": "Title: X\n\n***START OF THIS PROJECT GUTENBERG EBOOK X***\n\n",
    "wrapped": "Title: X\n\n*** START OF THIS PROJECT GUTENBERG EBOOK THE LONG\nTITLE OF X ***\n\n",
    "unclosed": "Title: X\n\n*** START OF THIS PROJECT GUTENBERG EBOOK X\n\n",
    "small print": (
        "The Project Gutenberg Etext of X\n\n***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\n"
        "Why is this here?\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n\n"
    ),
    "both": (
        "*** START OF THE PROJECT GUTENBERG EBOOK, X ***\n\nPrepared by A\n\n"
        "*END THE SMALL PRINT! FOR PUBLIC DOMAIN EBOOKS*Ver.02/11/02*END*\n\n"
    ),
    "produced by": (
        "*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\n\nProduced by A. B. and the Online\nTeam at http://www.pgdp.net"
        "\n\n(This file was produced from images)\n\n[Transcriber's Note: spelling\nis kept.]\n\n\n"
    ),
    "text prepared by": "*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\nE-text prepared by A. B.\n\n",
    "none": "",
}
FOOTERS = {
    "today": "\n\n*** END OF THE PROJECT GUTENBERG EBOOK X ***" + LICENCE,
    "twice": "\n\nEnd of the Project Gutenberg EBook of X, by Y\n\n*** END OF THIS PROJECT GUTENBERG EBOOK X ***"
    + LICENCE,
    "etext": "\n\nEnd of Project Gutenberg's Etext of X" + LICENCE,
    "the end of": "\n\nThe End of Project Gutenberg Etext X" + LICENCE,
    "full licence": "\n\n*** START: FULL LICENSE ***" + LICENCE + "*** END: FULL LICENSE ***",
    "small print": "\n\n***START**THE SMALL PRINT!***\n" + LICENCE + "*END THE SMALL PRINT! FOR ETEXTS*END*\n",
    "notes": "\n\n\nTranscriber's Notes:\n\npage 7: changed hte to the\n\n*** END OF THE PROJECT GUTENBERG EBOOK X ***"
    + LICENCE,
    "none": "",
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("footer", FOOTERS)
def test_what_is_not_the_book_goes(header, footer):
    """Every form of header with every form of footer leaves the same book, unchanged."""
    book = "\n\n".join([BOOK, *["The long night went on as before."] * 60, "The very end."])
    stripped = strip_boilerplate(HEADERS[header] + book + FOOTERS[footer])
    assert stripped is not None
    assert stripped.strip() == book


def test_a_text_without_markers_is_kept_to_the_letter():
    """A text without markers is kept unchanged, even if it mentions Project Gutenberg, its licence or its producers."""
    text = "Produced by hand.\n\nHe read of Project Gutenberg. The small print said START OF THE END.\n\n*** END ***\n"
    assert strip_boilerplate(text) == text


def test_two_books_in_a_file_lose_what_is_between():
    """Of two books in one file, the licence of the first and the header of the second are removed."""
    text = HEADERS["today"] + BOOK + FOOTERS["today"] + HEADERS["this"] + "Another one." + FOOTERS["etext"]
    assert (strip_boilerplate(text) or "").split() == (BOOK + " Another one.").split()


START, END = HEADERS["today"], "\n\n*** END OF THE PROJECT GUTENBERG EBOOK X ***\n\n"
CONTRADICTIONS = {
    "the end before the start": END + BOOK + START + BOOK,
    "two starts": START + BOOK + "\n\n" + START + BOOK + END,
    "more behind the end than a licence": START + BOOK + END + BOOK * 3000,
    "more before the start than a header": BOOK * 3000 + "\n\n" + START + BOOK + END,
    "no book": START + END,
}


@pytest.mark.parametrize("text", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictory_markers_drop_nothing(text):
    """Contradictory markers give None, so that the caller keeps the whole text."""
    assert strip_boilerplate(text) is None


def test_credits_go_at_the_start_only():
    """A paragraph that begins with "Produced by" within the book is kept."""
    text = START + "The film.\n\nProduced by a rich man, it failed.\n\nThe end." + END
    assert (strip_boilerplate(text) or "").strip() == "The film.\n\nProduced by a rich man, it failed.\n\nThe end."


NOTES = {
    "a heading alone": "Transcriber's Note:\n\n      Italics are so.\n\n      Spelling is kept.\n\n      --> is a hand.",
    "a heading far above": "Original Transcriber’s Notes:\n\n\n\nThis text is a combination\nof two.\n\nItalics are so.",
    "a paragraph": "    Transcriber's Note:\n    This is a heavily edited\n    version of the play.",
    "brackets": "[Transcriber’s Note:\n\nThe [old] spelling\nis kept.\n\nNotes are at the end.]",
    "a box": "+--------------------+\n| Transcriber's Note:|\n|                    |\n| Spelling is kept.  |\n+--------------------+",
    "a title of its own": "TRANSCRIBER'S NOTE ABOUT THIS E-TEXT EDITION:\n\nThe following is a reprint.\n\nWords in capitals were in italics.",
    "a transcription note": "Transcription Notes\n\nSpelling is kept.",
}


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
def test_notes_before_the_text_go(note, marked):
    """Notes before the text are removed whole and alone, in a file with markers or without."""
    start, end = (HEADERS["today"], FOOTERS["today"]) if marked else ("", "")
    book = "\n\n".join([BOOK, *["The long night went on as before."] * 60, "The very end."])
    assert (strip_boilerplate(f"{start}{note}\n\n\n\n\n{book}{end}") or "").strip() == book
    if marked:
        assert (strip_boilerplate(f"{start}THE TITLE\n\n\n\n{note}\n\n\n\n\n{book}{end}") or "").split() == [
            "THE",
            "TITLE",
            *book.split(),
        ]


def test_a_note_without_a_clear_end_loses_one_paragraph():
    """A note without a clear end is one paragraph, since the text after it may be the book."""
    text = "Transcriber's Note: Spelling is kept.\n\n" + "\n\n".join(["The long night went on as before."] * 200)
    assert (strip_boilerplate(text) or "").count("The long night") == 200


def test_notes_at_the_end_of_a_file_without_markers_need_a_heading_of_their_own():
    """At the end of a file without markers, only a heading of its own begins the notes, and not the words in a
    sentence.
    """
    book = "The long night went on as before.\n\n" * 60
    assert (strip_boilerplate(book + "Transcriber's note:\n\nPage 7: hte is now the.") or "").strip() == book.strip()
    said = book + "Transcriber's notes were on the table, and he read them."
    assert strip_boilerplate(said) == said
