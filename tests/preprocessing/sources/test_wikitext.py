"""Laws of preprocessing/sources/wikitext.py."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.sources.wikitext import to_prose

NAMESPACES = ("Category", "File", "Image", "Namespace of files")

GONE = [
    "{{Infobox|a={{b|c}}|d=[[e]]}}",
    "{{unfinished|[[a}}",
    "\n{| class=wikitable\n! a\n|-\n| b {{c}}\n{|\n| nested\n|}\n|}\n",
    "<table><tr><td>a<table></table></td></tr></TABLE>",
    "<ref>{{cite|a}}</ref>",
    '<ref name="a" />',
    "<Ref name=a>b [[c]]</REF>",
    "<references><ref>a</ref></references>",
    "<math>\\frac{{a}}{b}</math>",
    "<code>[[x]]</code>",
    "<gallery>\nFile:A.jpg|b\n</gallery>",
    "<syntaxhighlight lang=c>int a[[3]];</syntaxhighlight>",
    "<!-- a {{b -->",
    "[[File:A.jpg|thumb|left|A [[b|c]] and [[d]] {{e}}]]",
    "[[image:a.jpg]]",
    "[[ namespace_of files :a|b]]",
    "[[Bild:A.JPG|miniatur|b]]",
    "[[Category:A|b]]",
    "[[fr:Nombre]]",
    "[[zh-min-nan:Sò͘]]",
    "[[be-x-old:Аграномія]]",
    "[[zh-classical:A]]",
    "[[ Simple : A ]]",
    "[[roa-rup:A]]",
    "[[sr-latn:A]]",
    "[[DE:A|b]]",
    "[[de:]]",
    "[[Imagem:X.jpg|thumb|O rio [[Spree]] em [[Mitte|M]]]]",
    "[[ЧЧЧ:X y.Webm |thumb|[[Spree]]]]",
    "[[Unknown:X.svg]]",
    "[[Media:X.ogg]]",
    "[[Medium:X.ogg|thumb|b]]",
    "__NOTOC__",
    "https://example.org/a?b=c",
    "[https://example.org]",
    "({{IPA|a}}; {{respell|b}})",
    "(, )",
    "( {{a}} ({{b}}) )",
    "<div style='a'></div>",
]


@pytest.mark.parametrize("markup", GONE)
def test_markup_goes_with_what_it_holds(markup):
    """Markup is removed with its content, and leaves nothing behind in a sentence."""
    assert to_prose(f"One {markup} two.", NAMESPACES).split() == ["One", "two."]


KEPT = [
    ("[[a]] [[a|b]]s [[a#c|d]] [[:Category:e]] [[A: b]]", "a bs d Category:e A: b"),
    ("'''bold''' ''italic'' '''''both''''' it's", "bold italic both it's"),
    ("[https://a.org the site] [//b.org b] [mailto:c d]", "the site b d"),
    ("R&amp;D&nbsp;x &lt;ref&gt; 2&times;3", "R&D x <ref> 2×3"),
    ("a<br>b<br />c <small>d</small> H<sub>2</sub>O 10<sup>6</sup>", "a b c d H2O 10^6"),
    ("<nowiki>[[a]]</nowiki> b<nowiki/>c", "[[a]] bc"),
    ("x ({{IPA|y}}, {{lang|fr|z}}; born 1900, {{a}})", "x (z; born 1900)"),
    ("[[a [[b|c]] d", "a c d"),
    ("a [[b", "a b"),
    ("{{a}}, b", "b"),
    ("Anatomy ({{IPA|x}}) is, a ({{b}}), c", "Anatomy is, a, c"),
    ("a }} b ]] c |} d", "a b c |} d"),
    ("{{nowrap|a {{lang|fr|[[b|c]]}} d}}", "a c d"),
    ("is {{a}}, and {{b}}. <math>c</math>, x", "is, and., x"),
    ("One<ref>a {{b}} [http://c d]</ref> two<ref name=e/>. Three.", "One two. Three."),
    ("-{zh-hans:计算机; zh-hant:電腦}- -{a:b}- -{[[c|d]]}-", "计算机 a:b d"),
    ("-{T|zh:a}--{H|zh-cn:b;zh-tw:c}-d -{A|sr-ec:e; sr-el:f}- -{g", "d e -{g"),
    ("a <ref name=open> b <ref>c</ref> d", "a b d"),
    ("[[:de:Berlin]] [[:de:Berlin|Berlin]] [[:File:A.jpg]] [[ :File:A.jpg|b]]", "de:Berlin Berlin File:A.jpg b"),
    ("[[a.jpg]] [[A: b.c|d]] [[s:A|e]] [[wikt:f|f]]", "a.jpg d e f"),
    ('[[a|<span class="b|c">d</span>]] [[a|b|c]] [[a|<nowiki>b|c</nowiki>]]', "d c b|c"),
    ("[[http://a.org b c]] [[//a.org b]] [[https://a.org]] [[https://a.org|b]] [[a|http://b.org c]]", "b c b b c"),
    ("[http://a.org/b.htm''c'' d] e http://a.org/b''c'' [http://a.org/d'e f]", "c d e c f"),
    ("__NOTOC__ __EXPECTED_UNCONNECTED_PAGE__ a__b", "a__b"),
    ("a\n----\nb\n* -5 °C\n*-6 °C\n:- c\n----d", "a\nb\n-5 °C\n-6 °C\nc\nd"),
]


@pytest.mark.parametrize(("wikitext", "prose"), KEPT)
def test_text_is_kept(wikitext, prose):
    """Labels, targets without a label, entities, templates that hold text, and unclosed markup give text."""
    assert to_prose(wikitext, NAMESPACES) == prose


UNCLOSED_TABLES = [
    "{| class=a\n! A !! B\n|-\n! C\n| d || e\nf\n* g\n",
    "{|\n|+ A\n! A !! B\n{| \n! C !! D\n| e\n|}\n| f {{b\n}}\n",
    "<table class=a>\n<tr><td>b\nc\n</td></tr>\n",
    "{{table start}}\n! A !! B\n|-\n| c\n|}\n",
    ":{| class=a\n|b\nc\n",
]


@pytest.mark.parametrize("table", UNCLOSED_TABLES)
@pytest.mark.parametrize("end", ["\n", "\n== Life ==\n"])
def test_cells_of_a_table_without_end_go(table, end):
    """Each cell of a table without an end ends at the next blank line or heading, and the text after it is kept."""
    prose = to_prose(f"{table}{end}'''A''' was.\n\nB.", NAMESPACES).split("\n")
    assert [line for line in prose if line != "Life"] == ["A was.", "B."]


def test_a_line_may_begin_with_an_exclamation_mark():
    """Names such as "!Kung" at the start of a line are text."""
    for text in ("!Kung is.", "!!! is a band."):
        assert to_prose(text, NAMESPACES) == text


def test_an_unclosed_box_does_not_take_the_article():
    """The cells of an unclosed box are removed, and the text after it is kept."""
    for box in (
        "{{Infobox person\n| name = A {{b}}\n",
        "{| class=a\n!width=9|b\n|-\n| c\n",
        "[[File:A|thumb|b [[c]]\n",
    ):
        assert to_prose(f"{box}\n'''A''' was {{{{lang|fr|b}}}}.", NAMESPACES) == "A was b."


OPENERS = [
    "{{",
    "[[",
    "[[File:",
    "\n{|",
    "<table>",
    "<ref>",
    "<ref name=a",
    "<!--",
    "{{nowrap|",
    "[[a|",
    "[http://a ",
    "(",
]
OPENERS += [
    "<nowiki>",
    "'",
    "=",
    "= a",
    "\n:",
    ",",
    " ,",
    "&",
    "__A",
    "<a ",
    "{{convert|1|",
    "\n|}",
    "}}",
    "]]",
    "\n'''a",
    "-{",
    "-{a|",
]


@pytest.mark.parametrize("opener", OPENERS)
def test_time_is_linear(opener):
    """The time for 100,000 repetitions of any mark that is never closed is in proportion to their number."""
    start = time.process_time()
    to_prose(opener * 100_000 + "x", NAMESPACES)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("opener", "closer"), [("{{", "}}"), ("{{nowrap|abc ", "}}"), ("[[abc ", "]]"), ("[[File:", "]]"), ("(", ")")]
)
def test_time_is_linear_in_depth(opener, closer):
    """The time for 100,000 closed marks is in proportion to their number."""
    start = time.process_time()
    to_prose(opener * 100_000 + "x" + closer * 100_000, NAMESPACES)
    assert time.process_time() - start < 5


@given(
    st.lists(
        st.sampled_from(
            [
                *OPENERS,
                "{{'}}",
                "&#39;",
                "[[*a]]",
                "<nowiki>''*|</nowiki>",
                "{{nowrap|",
                "=",
                "*",
                "]]",
                "}}",
                "|}",
                "</ref>",
                "-->",
                "|",
                "\n",
                "a",
                "== b ==\n",
                "''",
                "]",
                ")",
            ]
        )
    )
)
def test_any_markup_is_read(parts):
    """Any nesting of markup is read, and lines have words and no blanks at their ends."""
    prose = to_prose("".join(parts), NAMESPACES)
    assert all(line == " ".join(line.split()) and line for line in prose.split("\n") if prose)
    assert prose.encode("utf-8").decode() == prose  # No stand-in of a character is left.
