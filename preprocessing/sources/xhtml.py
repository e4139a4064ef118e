"""Converts XHTML and HTML to plain text, with blank lines between blocks.

The parser is html.parser, which never fails on bad markup and supports neither recursive nor external entities.
"""

import re
from html.parser import HTMLParser

NO_PROSE = {
    "cover",
    "toc",
    "landmarks",
    "page-list",
    "loi",
    "lot",
    "copyright-page",
    "imprint",
    "colophon",
    "pagebreak",
    "noteref",
}
"""Values of `epub:type` and of a guide's `type` whose content is not prose."""
_NO_PROSE_CLASSES = {"pagenum", "pageno", "pagebreak", "fnanchor", "noteref", "pg-boilerplate", "caption"}
"""Classes used by Project Gutenberg and by common converters."""
_NO_PROSE_TAGS = {
    "head",
    "figcaption",
    "script",
    "style",
    "nav",
    "template",
    "svg",
    "math",
    "audio",
    "video",
    "object",
    "rt",
    "rp",
}
_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        "address article aside blockquote body caption dd div dl dt figcaption figure footer h1 h2 h3 h4 h5 h6 header "
        "hr html img li main ol p pre section table tr ul",
    )
)
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
_NOTE_MARK = re.compile(r"\s*[(\[]?(?:\d{1,3}|[*†‡])[)\]]?\s*")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_UNCLOSED = re.compile(r"<(?![^<>]*>)")


def xhtml_to_text(text: str) -> str:
    """The text of an XHTML file, with blank lines between blocks and the line breaks of `<br>` and `<pre>`."""
    parser = _Reader()
    parser.feed(_closed(text))
    parser.close()
    return "".join(parser.pieces)


def _closed(text: str) -> str:
    """The file without comments, unclosed tags and text before `<html>`: each would make the parser search to the
    end."""
    text = text[max(0, text.find("<html")) :]
    stop = text.rfind("-->") + 3  # Every comment before this position is closed.
    return _UNCLOSED.sub("&lt;", _COMMENT.sub("", text[:stop]) + text[stop:])


class _Reader(HTMLParser):
    """Parser that collects the text in `pieces`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._skipped: list[str] = []
        """Open elements with the tag of the element that is left out."""
        self._preformatted = 0
        self._superscripts: list[int] = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Handles `<a/>`, which has no content to leave out."""
        if not self._skipped:
            self._break(tag)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens a block, or starts leaving out an element."""
        if self._skipped:
            self._skipped += [tag] * (tag == self._skipped[0])
        elif tag not in _VOID and _is_no_prose(tag, dict(attrs)):
            self._skipped.append(tag)
        else:
            self._break(tag)
            self._preformatted += tag == "pre"
            if tag == "sup":
                self._superscripts.append(len(self.pieces))

    def handle_endtag(self, tag: str) -> None:
        """Closes a block; removes a superscript that is the mark of a note."""
        if self._skipped:
            if tag == self._skipped[0]:
                self._skipped.pop()
            return
        if tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)
        if tag == "sup" and self._superscripts:
            start = self._superscripts.pop()
            if _NOTE_MARK.fullmatch("".join(self.pieces[start:])):
                del self.pieces[start:]
        self._break(tag)

    def handle_data(self, data: str) -> None:
        """Collects text; white space becomes one space except in preformatted text."""
        if not self._skipped:
            self.pieces.append(data if self._preformatted else re.sub(r"\s+", " ", data))

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.pieces.append("\n\n")
        elif tag == "br":
            self.pieces.append("\n")
        elif tag in ("td", "th"):
            self.pieces.append(" ")


def _is_no_prose(tag: str, attributes: dict[str, str | None]) -> bool:
    types = [*(attributes.get("epub:type") or "").split(), (attributes.get("role") or "").removeprefix("doc-")]
    classes = (attributes.get("class") or "").split()
    return (
        tag in _NO_PROSE_TAGS
        or "hidden" in attributes
        or not NO_PROSE.isdisjoint(types)
        or not _NO_PROSE_CLASSES.isdisjoint(classes)
    )
