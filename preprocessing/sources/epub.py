"""Converts EPUB to plain text: the XHTML files of the spine, in order, with blank lines between blocks.

Only the standard library is used: zipfile, and expat for the two small XML files, which limits the expansion of
entities and fetches none. Source of the structure: EPUB 3.3, https://www.w3.org/TR/epub-33/, and OPF 2.0.1 for `guide`.
"""

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from urllib.parse import unquote
from xml.etree import ElementTree

from preprocessing.sources.booktext import BadBookError
from preprocessing.sources.documents import BOOK_TOO_LARGE, DAMAGED_EPUB, ENCRYPTED_EPUB
from preprocessing.sources.xhtml import NO_PROSE, xhtml_to_text
from preprocessing.textfiles import decode_text, marked_encoding

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
"""Errors that zipfile raises on damaged content; RuntimeError on a password or an unknown compression."""

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"


def epub_to_text(data: bytes, max_bytes: int) -> str:
    """The text of an EPUB, without navigation, cover, copyright page and page numbers.

    Args:
        data: content of the file.
        max_bytes: largest uncompressed size of all members together.

    Raises:
        BadBookError: the file is damaged, encrypted, or larger than `max_bytes`.
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
        raise BadBookError(DAMAGED_EPUB, f"{type(error).__name__}: {error}; download it again") from None
    return "\n\n".join(texts)


class _Members:
    """The members of a zip file, read up to a total limit: a few kilobytes can decompress to gigabytes."""

    def __init__(self, archive: zipfile.ZipFile, max_bytes: int) -> None:
        self._archive = archive
        self._max_bytes = self._left = max_bytes

    def __contains__(self, name: str) -> bool:
        return name in self._archive.NameToInfo

    def read(self, name: str) -> bytes:
        """The uncompressed bytes of a member.

        Raises:
            BadBookError: the member needs a password, or the members together exceed the limit.
        """
        if self._archive.getinfo(name).flag_bits & 1:
            raise BadBookError(ENCRYPTED_EPUB, f"{name} needs a password; only books without DRM can be read")
        with self._archive.open(name) as file:
            data = file.read(self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise BadBookError(BOOK_TOO_LARGE, f"unpacks to more than {self._max_bytes:,} bytes, at {name}")
        return data


def _encrypted(members: _Members) -> Iterator[str]:
    """Names of the encrypted members; often only fonts, which are not read."""
    if _ENCRYPTION in members:
        for reference in ElementTree.fromstring(members.read(_ENCRYPTION)).iterfind(".//{*}CipherReference"):
            yield unquote(reference.get("URI", ""))


def _spine(members: _Members) -> Iterator[str]:
    """Names of the members with text, in reading order."""
    rootfile = ElementTree.fromstring(members.read(_CONTAINER)).find(".//{*}rootfile")
    if rootfile is None:
        raise BadBookError(DAMAGED_EPUB, f"{_CONTAINER} names no package document; download it again")
    package = rootfile.get("full-path", "")
    root = ElementTree.fromstring(members.read(package))
    folder = posixpath.dirname(package)
    items = {item.get("id"): item for item in root.iterfind("{*}manifest/{*}item")}
    guide = {
        reference.get("href")
        for reference in root.iterfind("{*}guide/{*}reference")
        if reference.get("type") in NO_PROSE
    }
    for itemref in root.iterfind("{*}spine/{*}itemref"):
        item = items[itemref.get("idref")]
        href = item.get("href", "")
        is_text = "html" in item.get("media-type", "")
        if is_text and "nav" not in item.get("properties", "").split() and href not in guide:
            yield posixpath.normpath(posixpath.join(folder, unquote(href)))


def _decode(data: bytes) -> str:
    """Decodes XHTML: UTF-8 unless a byte-order mark or the XML declaration says otherwise."""
    if marked_encoding(data):
        return decode_text(data)
    declared = re.match(rb"""\s*<\?xml[^>]{0,200}encoding=["']([\w.-]{1,40})["']""", data)
    encoding = declared.group(1).decode("ascii") if declared else "utf-8"
    try:
        return data.decode(encoding)
    except LookupError:
        raise BadBookError(DAMAGED_EPUB, f"unknown encoding {encoding!r} in an XML declaration") from None
