"""Wikipedia as Wikimedia publishes it: `pages-articles` dumps, MediaWiki XML of export versions 0.9 to 0.11.

A dump is cut into byte ranges without reading it. A range holds the pages whose `<page>` starts in it: `<` is escaped
in all text, so the tag can be searched for. A `.bz2` dump is cut by compressed bytes, and can be entered wherever one
of its streams begins. Wikimedia's `multistream` dumps begin one every 100 pages; their index files are not needed. Any
other `.bz2` is one stream: the first of its splits reads all of it, the others find nothing. Use multistream dumps. A
dump of another compression is one split.

One article is one document. Its title is not part of the text: it is no sentence, and nearly every article's first
sentence begins with it. Headings are lines of their own.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from preprocessing.sources.disambiguation import is_disambiguation
from preprocessing.sources.documents import DAMAGED_DUMP, NOT_UTF8, BadRecord, Document, LeftOut, SingleFile
from preprocessing.sources.dumpfile import can_be_entered, chunks, missing_end, xml_bytes
from preprocessing.sources.dumpnames import WIKIPEDIA, check_distinct, warn_of_gaps
from preprocessing.sources.namespaces import MEDIA_NAMESPACE
from preprocessing.sources.search import FileSearch
from preprocessing.sources.siteinfo import HEAD_END, read_siteinfo
from preprocessing.sources.wikitext import to_prose

_PROSE_SHARE = 0.5
"""Estimated share of prose in the XML; only sizes partitions and progress bars."""
_MAX_PAGE_BYTES = 64 << 20
"""Longest page kept in memory: 30 times MediaWiki's limit of 2 MiB of wikitext, to allow for escaping."""
_PAGE, _PAGE_END, _DUMP_END = b"<page>", b"</page>", b"</mediawiki>"
_TITLE = re.compile(rb"<title>([^<]*)</title>")
_WIKITEXT = "wikitext"
NO_PROSE = "page without prose"
DISAMBIGUATION = "disambiguation page"
OTHER_MODEL = "page of content model {}, not wikitext"


class Article(NamedTuple):
    """The wikitext of an article."""

    position: int
    """As `Document.position`."""
    wikitext: str
    title: str = ""


class _Piece(NamedTuple):
    """The bytes from one `<page>` to the next, or those before the first."""

    position: int
    """Offset in the XML, counted from the start of the range."""
    data: bytes
    after: bytes = b""
    """Bytes expected between the end of the page and the end of the piece."""
    damage: str = ""
    """Reason why the next page does not begin where this piece ends; empty if it does."""
    lost: int = 0
    """Estimated bytes of XML lost beyond the piece itself, if it is damaged."""


@dataclass(frozen=True)
class Dump(SingleFile):
    """The pages of a dump that start in the bytes [start, stop) of its file."""

    start: int
    stop: int
    dropped_namespaces: tuple[str, ...]
    """Names of the namespaces whose links are removed with their text: those of files and categories."""
    language: str = ""
    """Language code that the dump states; empty if it states none."""
    media_namespaces: tuple[str, ...] = (MEDIA_NAMESPACE,)
    """Names of the namespace whose links to files are shown."""

    @property
    def num_bytes(self) -> int:
        """Estimated bytes of prose."""
        return int(xml_bytes(self.path, self.stop - self.start) * _PROSE_SHARE)

    def records(self) -> Iterator[Document | BadRecord | LeftOut]:
        """A document per article that has prose; otherwise the record of why there is none."""
        for article in self.articles():
            if not isinstance(article, Article):
                yield article
            elif text := self.prose(article):
                yield Document(text, article.position)
            else:
                yield LeftOut(NO_PROSE, article.position)

    def prose(self, article: Article) -> str:
        """The prose of an article; empty if it has none."""
        return to_prose(
            article.wikitext,
            self.dropped_namespaces,
            self.language,
            article.title,
            media_namespaces=self.media_namespaces,
        )

    def articles(self) -> Iterator[Article | BadRecord | LeftOut]:
        """The pages of the main namespace that are no redirects.

        Disambiguation pages and pages that hold no wikitext, such as Wikidata items, are given as `LeftOut`. A page
        that is cut off or not well-formed is a bad record. Damaged bz2 data is one bad record; reading resumes at the
        next stream.
        """
        for position, data, after, damage, lost in self._pieces():
            is_page = data.startswith(_PAGE)
            end = _PAGE_END if is_page else HEAD_END
            page, closed, rest = data.partition(end)
            if is_page and closed and (article := _article(position, page + closed)):
                yield article
            if not damage and not closed:
                damage = f"cut off: no {end.decode()} before the next page or the end"
            elif not damage and (found := rest.strip()) != after:
                expected, shown = after.decode() or _PAGE.decode(), found[:40].decode(errors="replace")
                damage = f"expected {expected} after this page, found {shown!r}"
            if damage:
                yield BadRecord(DAMAGED_DUMP, position, damage, int(lost * _PROSE_SHARE))

    def place(self, position: int) -> str:
        """The file and the title of a page; reads the range up to the page."""
        data = next((piece.data for piece in self._pieces() if piece.position == position), b"")
        title = _TITLE.search(data)
        page = f"page {html.unescape(title[1].decode(errors='replace'))!r}" if title else "page without a title"
        return f"{self.path}: {page}"

    def _pieces(self) -> Iterator[_Piece]:
        """The pieces that start in the range, each read to its end; the head of the file is the first."""
        held, position, searched = bytearray(), 0, 0
        limit = None  # Position at which the range ends, once it is known.
        inside = self.start == 0  # Otherwise the first bytes belong to a page that started before the range.
        for chunk in chunks(self.path, self.start, self.stop):
            if not chunk.own and limit is None:
                limit = position + len(held)
            held += chunk.data
            while (found := held.find(_PAGE, searched)) >= 0:
                if inside:
                    yield _Piece(position, bytes(held[:found]))
                del held[:found]
                position, searched, inside = position + found, len(_PAGE), True
                if limit is not None and position >= limit:
                    return
            searched = max(searched, len(held) - len(_PAGE) + 1)
            if not inside:
                del held[:searched]
                position, searched = position + searched, 0
            damage, lost = chunk.damage, chunk.lost
            if not damage and len(held) > _MAX_PAGE_BYTES:
                damage, lost = f"page of more than {_MAX_PAGE_BYTES:,} bytes, left out", len(held)
            if damage:
                yield from _before_damage(position, bytes(held), inside, chunk.own, damage, lost)
                if not chunk.own:
                    return
                position, searched, inside = position + len(held), 0, False
                held.clear()
        if inside:
            cut = 0 if _DUMP_END in held else missing_end(self.path)
            yield _Piece(position, bytes(held), after=_DUMP_END, lost=cut)


def _article(position: int, page: bytes) -> Article | BadRecord | LeftOut | None:
    """A page as an article or the reason why it is none; None for a redirect or another namespace."""
    try:
        root = ElementTree.fromstring(page.decode("utf-8"))
    except UnicodeDecodeError as error:
        return BadRecord(NOT_UTF8, position, str(error))
    except ElementTree.ParseError as error:
        return BadRecord(DAMAGED_DUMP, position, f"not well-formed: {error}")
    namespace, wikitext = root.findtext("ns"), root.findtext("revision/text") or ""
    model = root.findtext("revision/model") or _WIKITEXT
    if namespace is None:
        return BadRecord(DAMAGED_DUMP, position, "no <ns> in the page; read dumps of export version 0.9 to 0.11")
    if namespace != "0" or root.find("redirect") is not None:
        return None
    if model != _WIKITEXT:
        return LeftOut(OTHER_MODEL.format(model), position)
    if is_disambiguation(wikitext):
        return LeftOut(DISAMBIGUATION, position)
    return Article(position, wikitext, root.findtext("title") or "")


def _before_damage(position: int, data: bytes, inside: bool, own: bool, damage: str, lost: int) -> Iterator[_Piece]:
    """The piece before damage. Damage beyond the range is reported by the next range, unless it cuts a page of this
    one."""
    if own or (inside and _PAGE_END not in data):
        yield _Piece(position, data if inside else b"", damage=damage, lost=lost if own else 0)
    elif inside:
        yield _Piece(position, data)


def split_wikipedia(path: Path, split_bytes: int, search: FileSearch | None = None) -> list[Dump]:
    """Cuts a dump, or all dumps in a directory, into splits of about `split_bytes` of XML.

    Raises:
        DataError: there is no dump, a file is not a dump, or the directory holds a dump in two forms.
    """
    files = (search or FileSearch()).files(path, WIKIPEDIA)
    check_distinct(files)
    warn_of_gaps(files)
    splits = []
    for file in files:
        site = read_siteinfo(file)
        size = file.stat().st_size
        step = max(1, split_bytes // xml_bytes(file, 1)) if can_be_entered(file) else size
        splits += [
            Dump(file, start, min(start + step, size), site.dropped_namespaces, site.language, site.media_namespaces)
            for start in range(0, size, step)
        ]
    return splits
