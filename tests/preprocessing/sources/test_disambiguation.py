"""Laws of preprocessing/sources/disambiguation.py."""

import pytest

from preprocessing.sources.disambiguation import is_disambiguation


@pytest.mark.parametrize(
    "wikitext",
    [
        "Odd may be:\n* one\n{{disambiguation}}",
        "{{Disambig|geo}}",
        "{{ Geodis }}",
        "{{Human name disambiguation}}",
        "{{hndis|name=A}}",
        "{{Begriffsklärung}}",
        "{{Homonymie}}",
        "{{неоднозначность}}",
        "{{曖昧さ回避}}",
        "{{Egyértelműsítő_lap}}",
        "{{ ابهام‌زدایی }}",
        "a\n__DISAMBIG__",
    ],
)
def test_pages_are_told_by_their_template_in_any_language(wikitext):
    """A disambiguation page is recognised by its template in any language, whatever its case, underscores and
    arguments.
    """
    assert is_disambiguation(wikitext)


@pytest.mark.parametrize(
    "wikitext",
    [
        "",
        "The word disambiguation.",
        "[[A (disambiguation)]]",
        "The [[bank]]{{disambiguation needed|date=May}}.",
        "{{surname}}",
        "{{set index article}}",
        "{{other uses}}",
    ],
)
def test_articles_are_none(wikitext):
    """Lists of surnames, set indexes, and articles that refer to a disambiguation page are articles."""
    assert not is_disambiguation(wikitext)
