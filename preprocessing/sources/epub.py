"""EPUB to plain text: the XHTML files of the spine, in order, as blocks separated by blank lines.

Read with the standard library: zipfile, expat for the two small XML files, and html.parser for the text because it
never fails on bad markup and knows neither entities that expand nor external ones. Source of the structure: EPUB 3.3,
https://www.w3.org/TR/epub-33/, and OPF 2.0.1 for `guide`.
"""

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from lzma import LZMAError
from urllib.parse import unquote
from xml.etree import ElementTree

from preprocessing.documents import BOOK_TOO_LARGE, DAMAGED_EPUB, ENCRYPTED_EPUB
from preprocessing.sources.booktext import BadBookError

ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    OverflowError,
)
"""What zipfile raises on damaged content; RuntimeError on a password and an unknown compression."""

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
_FONT_OBFUSCATION = {"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"}
_NO_PROSE = {
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
_NO_PROSE_CLASSES = {"pagenum", "pageno", "pagebreak", "fnanchor", "noteref", "pg-boilerplate"}
"""Classes of Project Gutenberg and of common converters."""
_NO_PROSE_TAGS = {"head", "script", "style", "nav", "template", "svg", "math", "audio", "video", "object", "rt", "rp"}
_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        "address article aside blockquote body caption dd div dl dt figcaption figure footer h1 h2 h3 h4 h5 h6 header "
        "hr html img li main ol p pre section table tr ul",
    )
)
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
_NOTE_MARK = re.compile(r"\s*[(\[]?(?:\d{1,3}|[*†‡])[)\]]?\s*")


def epub_to_text(data: bytes, max_bytes: int) -> str:
    """The text of an EPUB, without navigation, cover, copyright page and page numbers.

    Args:
        data: the file.
        max_bytes: most bytes that are unpacked, all members together.

    Raises:
        BadBookError: damaged, encrypted, or larger than `max_bytes`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _Members(archive, max_bytes)
            encrypted = set(_encrypted(members))
            texts = []
            for name in _spine(members):
                if name in encrypted:
                    raise BadBookError(ENCRYPTED_EPUB, f"{name} is encrypted; only books without DRM can be read")
                texts.append(xhtml_to_text(_decode(members.read(name))))
    except (*ZIP_DAMAGE, ElementTree.ParseError) as error:
        raise BadBookError(DAMAGED_EPUB, f"{type(error).__name__}: {error}; fetch it again") from None
    return "\n\n".join(texts)


class _Members:
    """The members of a zip file, unpacked up to a limit: a few kilobytes can unpack to gigabytes."""

    def __init__(self, archive: zipfile.ZipFile, max_bytes: int) -> None:
        self._archive = archive
        self._max_bytes = self._left = max_bytes

    def __contains__(self, name: str) -> bool:
        return name in self._archive.NameToInfo

    def read(self, name: str) -> bytes:
        """The bytes of a member."""
        if self._archive.getinfo(name).flag_bits & 1:
            raise BadBookError(ENCRYPTED_EPUB, f"{name} needs a password; only books without DRM can be read")
        with self._archive.open(name) as file:
            data = file.read(self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise BadBookError(BOOK_TOO_LARGE, f"unpacks to more than {self._max_bytes:,} bytes, at {name}")
        return data


def _encrypted(members: _Members) -> Iterator[str]:
    """Names of the encrypted members; obfuscated fonts do not count."""
    if _ENCRYPTION not in members:
        return
    for entry in ElementTree.fromstring(members.read(_ENCRYPTION)).iterfind(".//{*}EncryptedData"):
        method, reference = entry.find("{*}EncryptionMethod"), entry.find(".//{*}CipherReference")
        if reference is not None and (method is None or method.get("Algorithm") not in _FONT_OBFUSCATION):
            yield unquote(reference.get("URI", ""))


def _spine(members: _Members) -> Iterator[str]:
    """Names of the members that hold text, in reading order."""
    rootfile = ElementTree.fromstring(members.read(_CONTAINER)).find(".//{*}rootfile")
    if rootfile is None:
        raise BadBookError(DAMAGED_EPUB, f"{_CONTAINER} names no package document; fetch it again")
    package = rootfile.get("full-path", "")
    root = ElementTree.fromstring(members.read(package))
    folder = posixpath.dirname(package)
    items = {item.get("id"): item for item in root.iterfind("{*}manifest/{*}item")}
    guide = {
        reference.get("href")
        for reference in root.iterfind("{*}guide/{*}reference")
        if reference.get("type") in _NO_PROSE
    }
    for itemref in root.iterfind("{*}spine/{*}itemref"):
        item = items[itemref.get("idref")]
        href = item.get("href", "")
        is_text = "html" in item.get("media-type", "")
        if is_text and "nav" not in item.get("properties", "").split() and href not in guide:
            yield posixpath.normpath(posixpath.join(folder, unquote(href)))


def _decode(data: bytes) -> str:
    """XHTML as text: UTF-8 unless a byte order mark or the XML declaration says otherwise."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    declared = re.match(rb"""(?:\xef\xbb\xbf)?\s*<\?xml[^>]{0,200}encoding=["']([\w.-]{1,40})["']""", data)
    encoding = declared.group(1).decode("ascii") if declared else "utf-8"
    try:
        return data.decode("utf-8-sig" if encoding.lower() == "utf-8" else encoding)
    except LookupError:
        raise BadBookError(DAMAGED_EPUB, f"unknown encoding {encoding!r} in an XML declaration") from None


def xhtml_to_text(text: str) -> str:
    """The text of an XHTML file: blank lines between blocks, line breaks as in `<br>` and `<pre>`."""
    parser = _Reader()
    parser.feed(text)
    parser.close()
    return "".join(parser.pieces)


class _Reader(HTMLParser):
    """Collects text in `pieces`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._skipped: list[str] = []
        """Open elements of the name of the one that is left out."""
        self._preformatted = 0
        self._superscripts: list[int] = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """`<a/>` has no content, so nothing is left out."""
        if not self._skipped:
            self._break(tag)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens a block, or starts to leave out."""
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
        """Closes a block; a superscript number turns out to be the mark of a note and goes."""
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
        """Text: white space is a space but in preformatted text."""
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
        or not _NO_PROSE.isdisjoint(types)
        or not _NO_PROSE_CLASSES.isdisjoint(classes)
    )
