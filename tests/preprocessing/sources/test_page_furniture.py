"""Laws of preprocessing/sources/page_furniture.py."""

import pytest

from preprocessing.sources.page_furniture import drop_page_furniture, split_heading

PROSE = "It was the best of times."


@pytest.mark.parametrize(
    "page", ["12", "[12]", "[Pg 12]", "{12}", "- 12 -", "— 12 —", "Page 12", "p. 12", "(xiv)", "xiv"]
)
def test_page_numbers_go(page):
    """A line that is a page number, in any of the usual forms, is removed."""
    assert drop_page_furniture([PROSE, "", page, "", "It was."]) == [PROSE, "", "", "It was."]


@pytest.mark.parametrize(
    "line", ["XIV", "Chapter 12", "12 men came.", "The year 1812", "[12] See below.", "mix it", "12.5"]
)
def test_what_only_resembles_a_page_number_stays(line):
    """Headings and sentences with numbers are kept."""
    assert drop_page_furniture([PROSE, "", line, "", "It was."]) == [PROSE, "", line, "", "It was."]


def test_a_bare_number_inside_a_paragraph_is_a_page_if_its_neighbours_are():
    """Numbers inside paragraphs that follow each other are page numbers and are removed, and a year at the start of a
    line is kept.
    """
    for years in (["He came in", "1812", "and left."], ["He came in", "1812", "and left in", "1815", "or so."]):
        assert drop_page_furniture(years) == years
    lines = ["one two", "7", "three", "", "four", "8", "five.", "9", "", "Six."]
    assert drop_page_furniture(lines) == ["one two", "three", "", "four", "five.", "", "Six."]


def test_a_paragraph_that_a_page_cut_is_whole_again():
    """A paragraph without a full stop that continues in lower case after a page is joined; others ended there."""
    assert drop_page_furniture(["the quick brown", "", "12", "", "fox jumped."]) == ["the quick brown", "fox jumped."]
    for before, after in [("the quick fox.", "it jumped."), ("the quick brown", "Fox jumped.")]:
        assert drop_page_furniture([before, "", "12", "", after]) == [before, "", "", after]
    assert drop_page_furniture(["no page", "", "here."]) == ["no page", "", "here."]


@pytest.mark.parametrize(
    "head", ["{0}    THE OLD HOUSE", "THE OLD HOUSE    {0}", "HOUSE      {0}", "{0}\n\nTHE OLD HOUSE"]
)
def test_running_heads_go(head):
    """A head on five pages is removed with their page numbers, and one on four pages is kept."""
    for repeats in (4, 5):
        pages = [["Text of a page.", "", *head.format(number * 2 + 10).split("\n"), ""] for number in range(repeats)]
        kept = drop_page_furniture([line for page in pages for line in page])
        assert any("HOUSE" in line for line in kept) == (repeats == 4)
        assert kept.count("Text of a page.") == repeats


def test_numbered_chapters_are_no_running_heads():
    """Chapters from "Chapter 1" to "Chapter 30", which differ only in their numbers, are kept."""
    lines = [line for number in range(30) for line in (f"Chapter {number}", "", "Text.", "")]
    assert drop_page_furniture(lines) == lines


def test_headings_are_cut_from_the_text_below():
    """A heading line without a blank line below is separated from the text; a sentence that starts alike is not."""
    assert split_heading(["CHAPTER IV.", "It was night."]) == [["CHAPTER IV."], ["It was night."]]
    for block in (["Chapter ten was", "dull."], ["Part of it", "was gone."], ["CHAPTER IV."]):
        assert split_heading(block) == [block]
