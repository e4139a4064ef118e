"""Laws of preprocessing/sources/inline.py."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.sources.inline import clean, finished, literal, protect, restore, without_apostrophes
from preprocessing.sources.wikitext import to_prose

APOSTROPHES = [
    ("''Iliad''", "Iliad"),
    ("''Iliad'''s description", "Iliad's description"),
    ("L''''Autriche''' est", "L'Autriche est"),
    ("dell'''Isola'''", "dellIsola"),
    ("dell'''Isola'' è", "dell'Isola è"),
    ("'''''a''''' ''b'' '''c'''", "a b c"),
    ("''''a''''", "'a'"),
    ("''''''a''''''", "'a'"),
    ("''''''''a'''''", "'''a"),
    ("it's 'so' l'eau", "it's 'so' l'eau"),
    # An odd number of italics and of bold: a bold mark is an apostrophe and italics.
    ("the l'''eau'' and grande'''eau''' x", "the l'eau and grandeeau x"),
    ("cette grande'''eau''' et l'''eau''", "cette grandeeau et l'eau"),
    ("''a''' b '''c''' d", "a' b c d"),
    ("'''a ''b", "'a b"),
    ("a '''b''", "a 'b"),
    ("a '''b'' cd'''e''' f", "a b cd'e f"),
    ("'''''a'' ''b'''", "a b"),
    ("'''a\n''b'''s", "a\nb's"),
    ("'''''", ""),
    ("é '''b'' à'''c''' d", "é b à'c d"),
]


@pytest.mark.parametrize(("wikitext", "text"), APOSTROPHES)
def test_apostrophes_are_read_as_mediawiki_reads_them(wikitext, text):
    """Runs of two, three and five apostrophes are marks and others are text; a line with both kinds unbalanced loses a
    bold mark.
    """
    assert without_apostrophes(wikitext) == text


@given(st.lists(st.sampled_from(["'", "''", "'''", " ", "a", "b'", "\n"])))
def test_only_apostrophes_go(parts):
    """All other text is kept, and the number of apostrophes never increases."""
    text = "".join(parts)
    assert without_apostrophes(text).replace("'", "") == text.replace("'", "")
    assert without_apostrophes(text).count("'") <= text.count("'")


@settings(max_examples=50)
@given(st.text(st.one_of(st.sampled_from("'[]{}|<>&=_:*#;/-\n "), st.characters(codec="utf-8"))))
def test_protected_text_comes_back(text):
    """`restore` is the inverse of `protect` for any text, and `clean` does not change protected text."""
    assert restore(protect(text)) == text
    assert restore(clean(protect(f"a{text}"))) == f"a{text}"


LITERAL = [
    ("''a''", "''a''"),
    ("[[a|b]] {{c}} [http://d e] http://f", "[[a|b]] {{c}} [http://d e] http://f"),
    ("<b>a</b> &lt;ref&gt; &amp;lt; &#39;&#39; &copy &unknown;", "<b>a</b> <ref> &lt; '' &copy &unknown;"),
    ("__NOTOC__ -{a}- == b ==", "__NOTOC__ -{a}- == b =="),
    ("* a", "* a"),
    ("a\n* b", "a * b"),
    ("\ue000 \U000f0000 \ufdd0", "\ue000 \U000f0000 \ufdd0"),
]


@pytest.mark.parametrize(("text", "shown"), LITERAL)
def test_literal_text_is_not_markup(text, shown):
    """In literal text only entities are resolved."""
    assert restore(literal(text)) == shown


def test_finished_text_is_not_read_again():
    """Entities that stand for markup are text."""
    assert restore(finished("''a'' <i>b</i> &lt;i&gt; &#91;&#91;c&#93;&#93; [http://d e]")) == "a b <i> [[c]] e"


@pytest.mark.parametrize("part", ["'", "''", "'''", "a'''", " a'''''", "&", "&#", "&a", "__A", "-{", "[http://a "])
def test_time_is_linear(part):
    """The time for 100,000 repetitions of any mark is in proportion to their number."""
    start = time.process_time()
    clean(part * 100_000)
    literal(part * 100_000)
    assert time.process_time() - start < 5


TEXT = [
    ("''Time''{{'}}s cover", "Time's cover"),
    ("''Hamlet''<nowiki/>'s", "Hamlet's"),
    ("''Hamlet''<ref>''a'''</ref>'s ''b''", "Hamlet's b"),
    ("''Hamlet''{{efn|x}}'s", "Hamlet's"),
    ("'''[[Zeit|''Zeit'']]''' [[l''eau]]", "Zeit l''eau"),
    ("''[[Nowruz'|Nowruz']]'' {{nowrap|'''a''s}} b", "Nowruz' 'as b"),
    ("&lt;ref&gt; &#39;&#39;a&#39;&#39; &#91;&#91;b&#93;&#93; &#123;&#123;c&#125;&#125;", "<ref> ''a'' [[b]] {{c}}"),
    ("a &#10;&#10;* b", "a * b"),
    ("&#42; a", "* a"),
    ("<nowiki>''a'' [[b]] &lt; <br> * c</nowiki> ''d''", "''a'' [[b]] < <br> * c d"),
    ("{{nowrap|<nowiki>a|b=c</nowiki>}} {{nowrap|a{{nowrap|1=b=c}}}}", "a|b=c ab=c"),
    ("{{nowrap|&lt;b&gt;''c''&lt;/b&gt;}}", "<b>c</b>"),
    ("{{nowrap|[[a|b=c]]}}", "b=c"),
    ("[[*NSYNC]] sang", "*NSYNC sang"),
    ("{{nowrap|#1}} is", "#1 is"),
    ("<nowiki>= a =</nowiki>", "= a ="),
    ("[[AT&amp;T]] &#61;", "AT&T ="),
    ("\udc27\udc27a\udc27\udc27 [[\udc00b]]", "\ufffd\ufffda\ufffd\ufffd \ufffdb"),
    ("\ue000''a''\ufdd0", "\ue000a\ufdd0"),
]


@pytest.mark.parametrize(("wikitext", "prose"), TEXT)
def test_what_a_page_inserts_is_not_read_as_markup(wikitext, prose):
    """Text of templates, links, nowiki and entities is not read as markup, whatever characters it holds."""
    assert to_prose(wikitext, ("File",)) == prose
