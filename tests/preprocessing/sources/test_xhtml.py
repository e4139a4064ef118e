"""Laws of preprocessing/sources/xhtml.py."""

import time

import pytest

from preprocessing.sources.booktext import paragraphs
from preprocessing.sources.xhtml import xhtml_to_text

XHTML = [
    ("<p>One\n  two <i>three</i>.</p><p>Four.</p>", "One two three.|Four."),
    ("<div>Loose<div>Inner</div>text</div>", "Loose|Inner|text"),
    ("<p>Verse<br/>two<br></p><ul><li>Item</li></ul>", "Verse two|Item"),
    ("<pre>Verse\ntwo</pre>", "Verse two"),
    ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b|c"),
    ("<p>caf&eacute;&nbsp;&#8212;&#x41; &lt;b&gt; &unknown;</p>", "café —A <b> &unknown;"),
    ("<p>word<sup><a href='#n'>12</a></sup> 1<sup>st</sup><a epub:type='noteref'>*</a>.</p>", "word 1st."),
    ("<p>a<span class='x pagenum'>[<span>12</span>] no</span>b<span epub:type='pagebreak'/>c</p>", "abc"),
    ("<p hidden>no</p><div role='doc-toc'>no<div>no</div>no</div><p>Text.", "Text."),
    ("<p>un\u00adbroken</p><!-- no --><script>no()</script><style>p {}</style>", "unbroken"),
    ("<p>bad <b>markup</p><p>goes on", "bad markup|goes on"),
    ("<a id='x'/><title/><p>Text.</p>", "Text."),
    ("<p><![CDATA[no]]>Text.</p>", "Text."),
]


@pytest.mark.parametrize(("body", "text"), XHTML)
def test_elements_become_blocks(body, text):
    """Block elements become paragraphs, line breaks are joined, characters are resolved, and markup need
    not be valid.
    """
    assert paragraphs(xhtml_to_text(f"<html><body>{body}</body></html>")) == text.split("|")


def test_entities_are_not_expanded():
    """Entities of a document type are neither expanded nor fetched."""
    doctype = '<!DOCTYPE x [<!ENTITY a "boom"><!ENTITY b "&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
    assert paragraphs(xhtml_to_text(doctype + "<html><body><p>A &b; &c;</p></body></html>")) == ["A &b; &c;"]


@pytest.mark.parametrize("piece", ["<a ", "<!--", "</p", "<?x", "<a b=", "<!", "<![CDATA[", "<", "&", "<sup>", "<nav>"])
def test_markup_that_does_not_end_takes_no_time(piece):
    """The time for unclosed tags and comments grows with the length of the text, and not with its square."""
    start = time.process_time()
    xhtml_to_text("<html><body><p>Text." + piece * 50_000)
    assert time.process_time() - start < 3


def test_comments_hide_markup():
    """Comments are removed whole, and one without an end hides no prose."""
    assert paragraphs(xhtml_to_text("<p>One<!-- <p>no</p> > -->, <!---->two.</p>")) == ["One, two."]
    assert paragraphs(xhtml_to_text("<p>One.</p><!-- <p>two.</p>"))[-1] == "two."
