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
    """Case and underscores make no difference; arguments may follow."""
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
    """Nor are lists of surnames, set indexes, and articles that point to a disambiguation page."""
    assert not is_disambiguation(wikitext)
