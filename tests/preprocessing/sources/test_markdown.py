"""Laws of preprocessing/sources/markdown.py."""

import pytest

from preprocessing.sources.markdown import markdown_to_text

CASES = [
    ("# Title: X\n## CHAPTER 1\nIt was *so* **very** _dark_.", "Title: X|CHAPTER 1|It was so very dark."),
    ("Title\n=====\nText\n\n-------\nMore\n\n* * *\nEnd", "Title|Text|More|End"),
    ("A [link](http://x.y 'title') and ![picture](a.png) and <http://z.z>", "A link and  and http://z.z"),
    ("> Quoted\n> text.\n>\n> > Deeper.", "Quoted\ntext.|Deeper."),
    ("- one\n- two\n\n1884. A year it was.", "one|two|1884. A year it was."),
    ("    Indented verse,\n    two lines", "Indented verse,\ntwo lines"),
    ("a line  \nbreak \\*kept\\* &amp; `code`", "a line\nbreak *kept* & code"),
    ("word<br>and <b>tag</b>\n\n<div>\nText\n</div>", "word\nand tag|Text"),
    ("[note]: is what he said", "[note]: is what he said"),
    ("snake_case and 2 * 3", "snake_case and 2 * 3"),
]


@pytest.mark.parametrize(("markdown", "blocks"), CASES)
def test_marks_go_and_text_stays(markdown, blocks):
    """Marks are removed, and each block of Markdown is a block of text."""
    assert markdown_to_text(markdown) == blocks.replace("|", "\n\n")


def test_plain_prose_is_not_changed():
    """Text without marks is not changed."""
    text = "It was the best of times,\nit was the worst.\n\n“No,” she said--and left... (1812)"
    assert markdown_to_text(text) == text
