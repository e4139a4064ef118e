"""Recognition of a file's content by its bytes, whatever its name: text, JSON, HTML, or another format.

Downloads may be error pages, archives and pointers under the name of the wanted file. Signatures are those of the
formats' specifications; HTML is recognised by its first tag, or by tags all over the text.
"""

import codecs
import json
import re
from typing import Any

from preprocessing.sources.search import HEAD_BYTES
from preprocessing.textfiles import MARK, marked_encoding

_SIGNATURES = (
    (b"PK\x03\x04", "a zip file, as EPUB and Word files are"),
    (b"%PDF-", "a PDF file"),
    (b"{\\rtf", "an RTF file"),
    (b"\xd0\xcf\x11\xe0", "an old Word file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file"),
    (b"Rar!", "a RAR file"),
    (b"AT&TFORM", "a DjVu file"),
    (b"%!PS", "a PostScript file"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"ARROW1", "an Arrow file"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer"),
)
_MOBI = slice(60, 68)
_FEW, _BINARY_SHARE = 4, 1 / 200
"""Number and share of control characters above which bytes are binary; text may contain some, such as a final ^Z."""
_CONTROL = bytes({*range(32), 127} - set(b"\t\n\v\f\r\x1b"))
_HEAD = 20_000
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

_JSON = "JSON, which jsonl: reads"
_OBJECT = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\[\s*)?\{\s*"(?:[^"\\]|\\.){0,200}"\s*:')
"""Start of a JSON object whose first line is longer than the bytes examined."""
_OBJECT_LINE = re.compile(rb"\{[ \t]*[\"}]")
_XML_TAG = re.compile(rb"(?:\xef\xbb\xbf)?\s*<[?!a-zA-Z]")
_CONTROL_CHARACTER = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_PREFIX = r"\s*(?:<\?xml\b[^>]{0,300}>\s*|<!--(?:[^-]|-(?!->)){0,5000}-->\s*)*"
_HTML = re.compile(rf"{_PREFIX}<(?:!doctype\s+html|(?:html|head|body|title|script)\b)", re.IGNORECASE)
_XML = re.compile(r"\s*<(?:\?xml\b|!doctype\b)", re.IGNORECASE)
_TAG = re.compile(r"</(?:p|td|tr|li|div|h\d)>|<(?:br|hr|p|li|tr)\s*/?>", re.IGNORECASE)
"""Tags of blocks; plain text may contain inline tags such as `<i>`."""
_TAGS, _TAG_SHARE = 10, 1 / 400
_TITLE = re.compile(r"<(title|h1)\b[^>]{0,300}>(.{0,300}?)</\1", re.IGNORECASE | re.DOTALL)
_ERROR = re.compile(
    r"\b(?:[45]\d\d|not found|forbidden|access denied|error|unavailable|moved permanently|redirect(?:ing|ed)?|log ?in|"
    r"bad (?:request|gateway)|time-?out|just a moment|attention required|captcha|too many requests|sign ?in)\b",
    re.IGNORECASE,
)
_MIN_BOOK, _MAX_ERROR = 2_000, 20_000
"""Characters of text in an HTML file: a file with fewer is no book, a file with more is no error page."""


def foreign_content(data: bytes) -> str | None:
    """Name of a format other than text, for messages; None if the bytes may be text.

    Args:
        data: content of a file that should be text.
    """
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[_MOBI] in (b"BOOKMOBI", b"TEXtREAd"):
        return "a Mobipocket (Kindle) file"
    if data.startswith(_UTF16):
        return None
    head = data[:_HEAD]
    if len(head) - len(head.translate(None, _CONTROL)) > max(_FEW, len(head) * _BINARY_SHARE):
        return "binary data"
    return _structured(data.lstrip(b"\xef\xbb\xbf \t\r\n"))


def _structured(data: bytes) -> str | None:
    """`JSON` or `XML` if the bytes are one of them, otherwise None."""
    if data[:1] in (b"{", b"["):
        first = data.partition(b"\n")[0]
        return _JSON if _is_json(first, dict) or _is_json(data, dict | list) else None
    head = data[:_HEAD].decode("latin-1")
    return "XML" if _XML.match(head) and not _HTML.match(head) else None


def _is_json(data: bytes, kind: Any) -> bool:
    try:
        return isinstance(json.loads(data), kind) and len(data) > 2
    except (ValueError, RecursionError):
        return False


def is_html(text: str, *, anywhere: bool) -> bool:
    """Whether a text is an HTML file.

    Args:
        text: content of the file.
        anywhere: whether tags all over a text that does not begin as HTML also make it HTML; Markdown may contain them.
    """
    if _HTML.match(text[:_HEAD].lstrip("\ufeff")):
        return True
    head = text[:_HEAD] if anywhere else ""
    tags = len(_TAG.findall(head))
    return tags >= _TAGS and tags > len(head) * _TAG_SHARE


def not_text(head: bytes) -> str:
    """Error message for a file that begins with `head` and is neither plain text nor Markdown; empty if it may be text.

    Only a file that begins as HTML is HTML: text may contain any number of tags, as film reviews contain `<br />`.
    """
    found = foreign_content(head)
    if not found and _OBJECT.match(head):
        found = _JSON
    if found:
        return f"holds {found}; put its text in its place, or remove it"
    text = head[:_HEAD].decode(marked_encoding(head) or "utf-8", errors="replace")
    if not is_html(text, anywhere=False):
        return ""
    titles = _titles(text)
    title = f" ({titles[0][:80]!r})" if titles else ""
    return f"holds an HTML page{title}; download the file again, or put its text in its place"


def _titles(html: str) -> list[str]:
    return [" ".join(title.split()) for _, title in _TITLE.findall(html[:_HEAD])]


def html_fault(html: str, text: str) -> str | None:
    """Reason why an HTML file is no book, for messages; None for a book.

    Args:
        html: content of the file.
        text: its text without markup.
    """
    error = next((title for title in _titles(html) if _ERROR.search(title)), None)
    size = sum(not character.isspace() for character in text)
    if error is not None and size < _MAX_ERROR:
        return f"an HTML page, {error[:80]!r}; download the book again"
    if size < _MIN_BOOK:
        return f"an HTML page with {size:,} characters of text; download the book again"
    return None


def is_json_lines(head: bytes) -> bool:
    """Whether the first line of a file that begins with `head` is a JSON object."""
    head = head.removeprefix(MARK.encode()).lstrip()
    return bool(_OBJECT_LINE.match(head))


def is_text(head: bytes) -> bool:
    """Whether a file that begins with `head` is plain text: UTF-8 or as its byte-order mark says, and no JSON or
    XML."""
    if not marked_encoding(head):
        try:
            codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD_BYTES)
        except UnicodeDecodeError:
            return False
    if not marked_encoding(head) and _CONTROL_CHARACTER.search(head):
        return False
    return bool(head.strip()) and not is_json_lines(head) and not _XML_TAG.match(head)
