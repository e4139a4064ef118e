"""Laws of preprocessing/inspect/texts.py and of the suspicions that follow from it, on text of several kinds."""

import re
from pathlib import Path

import pytest

from preprocessing.corpus.report import Tally
from preprocessing.inspect.overview import DocumentsFigures, Overview, SourceFigures
from preprocessing.inspect.suspicions import suspicions
from preprocessing.inspect.texts import figures_of
from preprocessing.tokenizer.wordpiece import SPECIAL_TOKENS, make_tokenizer

ENGLISH = [
    "The river rises in the hills north of the town and reaches the sea after sixty miles.",
    "In 1842 a bridge was built across it, which the flood of 1903 carried away.",
    'Most of the people who live there work in the mills ("the works"), as their parents did.',
]
FRENCH = [
    "La rivière prend sa source dans les collines au nord de la ville et se jette dans la mer.",
    "vignette|Le pont de la ville, construit en 1842, vu depuis la rive gauche.",
    "La plupart des habitants travaillent dans les usines, comme leurs parents avant eux.",
]
NOT_FOUND = [
    '<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN"> <html><head>',
    "<title>404 Not Found</title>",
    "<p>The requested URL was not found on this server.</p>",
    "</body></html>",
]
MARKDOWN = [*ENGLISH * 2, "| year | people |", "|---|---:|", "| 1842 | 900 |", "| 1903 | 1,200 |"]
DRAWN = [*ENGLISH * 3, "[12]", "+------+--------+", "| 1842 | 900 |", "+------+--------+"]


def said(documents, language="en", tokenizer=None):
    """Return the suspicions on a source with these documents."""
    source = SourceFigures("text:a", len(documents), 10, figures_of(documents, language, tokenizer))
    figures = DocumentsFigures(Path("out/documents"), Tally(documents=10), 1, 10, 0, [source], {})
    return suspicions(Overview(Path("out"), figures, None, [], []))


@pytest.mark.parametrize("documents", [[ENGLISH] * 20, [DRAWN] * 20, [ENGLISH], [["12."] * 5] + [ENGLISH * 9] * 5])
def test_ordinary_text_is_not_suspicious(documents):
    """Prose, prose with a drawn table and references, a single short document, and one of numbers among others give no
    suspicion.
    """
    assert said(documents) == []


@pytest.mark.parametrize(
    ("documents", "messages"),
    [
        (
            [FRENCH] * 20,
            [r"20 of 20 documents are classified as language fr, but sentences and wikitext were read as en: check"],
        ),
        ([FRENCH], [r"1 of 1 documents are classified as language fr"]),
        ([NOT_FOUND], [r"1 of 1 documents seem to be HTML, such as the one with the line '<!DOCTYPE HTML"]),
        ([*[ENGLISH] * 50, NOT_FOUND], [r"1 of 51 documents seem to be HTML"]),
        ([MARKDOWN] * 5, [r"10\.0% of the lines have rules of Markdown tables, such as '\|---\|---:\|'"]),
        (
            [[*ENGLISH, "Tom &amp; Jerry"]] * 6,
            [r"25\.0% of the lines have HTML tags or entities, such as 'Tom &am"],
        ),
        ([["[[a]] {{b|c=d}} is a river."] * 5 + ENGLISH] * 5, [r"% of the characters are markup, more than 3%"]),
        (
            [[*ENGLISH, "1, 2, 3, 4 and 5".replace("and", "+"), "1842 1903 1910"]] * 5,
            [r"40\.0% of the lines have no"],
        ),
        ([[*ENGLISH, "Add", "Delete", "Save", "Log in"]] * 5, [r"57\.1% of the lines are very short, such as 'Add'"]),
    ],
)
def test_what_is_no_prose_is_named(documents, messages):
    """Text that is no prose is named with its share and an example."""
    found = said(documents)
    assert len(found) == len(messages), found
    for text, message in zip(found, messages, strict=True):
        assert text.startswith("documents, text:a: ") and re.search(message, text), text


def test_what_the_normalizer_removes_is_named():
    """Accents that a lower-casing tokenizer removes from French are named; a cased tokenizer keeps them."""
    special = list(SPECIAL_TOKENS.values())
    found = figures_of([FRENCH] * 20, "fr", make_tokenizer(special, True)).removed
    assert 0.004 < found.share < 0.03 and ("è", "e") in found.examples
    (text,) = said([["Déjà été, été à côté."] * 30], "fr", make_tokenizer(special, True))
    assert "the normalizer removes 52.9% of the characters, or their accents and marks (é -> e, à -> a, ô -> o)" in text
    assert said([FRENCH] * 20, "fr", make_tokenizer(special, False)) == []


def test_languages_that_are_alike_are_not_told_apart():
    """Related languages count as one: the classifier distinguishes Cantonese and Wu from Chinese."""
    figures = figures_of([], "zh", None)
    figures.languages.update({"zh": 3, "wuu": 5, "yue": 1, "en": 1})
    assert (figures.judged, figures.foreign) == (10, 1)


@pytest.mark.parametrize(
    ("language", "foreign"), [("fr", 0), ("de, fr", 0), ("en", 4), ("fr-be", 0), ("", 0), ("xx", 0)]
)
def test_what_is_expected_may_be_several_languages_or_none(language, foreign):
    """A source may have several expected languages, as with dumps of two wikis, and one that the classifier does not
    know is no suspicion.
    """
    assert figures_of([FRENCH] * 4, language, None).foreign == foreign


def test_a_long_document_is_read_in_places():
    """Of a long document 200 lines are read, from its beginning to its end."""
    figures = figures_of([[f"{number} is a line." for number in range(100_000)]], "en", None)
    assert figures.lines == 200 and figures.documents == 1
    assert figures_of([[f"{number} is a line." for number in range(200)]], "en", None).lines == 200
