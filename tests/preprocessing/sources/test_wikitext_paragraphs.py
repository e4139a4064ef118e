"""Laws of preprocessing/sources/wikitext_paragraphs.py."""

from preprocessing.sources.wikitext import to_prose
from preprocessing.sources.wikitext_paragraphs import mark_bold_lines, paragraphs

NAMESPACES = ("Category", "File", "Image", "Namespace of files")


def test_lines():
    """Lines of a paragraph are joined; list items, terms and headings are lines of their own."""
    wikitext = "a\nb\n\nc\n* d\n** e\n# f\n;g: h\n:i\n----\n== j ==\nk\n\n\n=== l ===\n* m"
    assert to_prose(wikitext, NAMESPACES).split("\n") == ["a b", "c", "d", "e", "f", "g: h", "i", "j", "k", "l", "m"]


def test_headings_with_nothing_below_go():
    """A heading with nothing below it is removed, as are those above it with nothing else, bold lines and lines without
    a word.
    """
    wikitext = """Text.
== Kept ==
=== Gone ===
{{a}}
=== Kept too ===
'''Gone'''
'''Kept as well'''
* [[b]]
* {{c}}
* ...
== References ==
{{reflist}}
== External links ==
* [http://example.org]
=== Gone ===
"""
    assert to_prose(wikitext, NAMESPACES).split("\n") == ["Text.", "Kept", "Kept too", "Kept as well", "b"]


def test_what_removed_templates_leave_goes():
    """Empty parentheses, commas beside parentheses and doubled commas are removed, and the words around
    them are kept.
    """
    assert paragraphs("A ( , b ; ) c , , d ().") == ["A (b) c, d."]
    assert paragraphs("A (b, c) d; e.") == ["A (b, c) d; e."]


def test_a_bold_line_is_a_heading():
    """A line is a heading only if all of it is bold."""
    assert mark_bold_lines("a\n'''b''' \nc") == "a\n;b\nc"
    assert mark_bold_lines("a\n'''b''' c") == "a\n'''b''' c"
