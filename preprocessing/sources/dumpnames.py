"""Names of the files of Wikimedia's dumps: recognises dumps, and files that hold the same articles.

A dump of a big wiki is published whole and in parts, each as one stream and as many (`multistream`), in one directory:
    enwiki-20251101-pages-articles.xml.bz2
    enwiki-20251101-pages-articles-multistream.xml.bz2
    enwiki-20251101-pages-articles1.xml-p1p41242.bz2
    enwiki-20251101-pages-articles-multistream1.xml-p1p41242.bz2
beside indexes, tables, and other selections of pages.
"""

import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from preprocessing.errors import DataError
from preprocessing.progress import LOG
from preprocessing.sources.compressed import without_compression
from preprocessing.sources.search import Form

_XML = re.compile(r".*\.xml-p\d+p\d+", re.IGNORECASE)
_ARTICLES = re.compile(
    r"(?P<wiki>\w+)-(?P<date>\d{8}|latest)-pages-(?P<pages>articles|meta-current)(?P<streams>-multistream)?"
    r"(?P<part>\d*)\.xml(?:-p(?P<first>\d+)p(?P<last>\d+))?",
    re.IGNORECASE,
)
_INDEX = re.compile(r".*-multistream-index\d*\.txt(?:-p\d+p\d+)?", re.IGNORECASE)
_JOB = re.compile(r"\w+-(?:\d{8}|latest)-(?!pages-(?:articles|meta-current)).+", re.IGNORECASE)
_SHOWN = 3


class _Form(NamedTuple):
    """The dump that a file belongs to, and its form."""

    wiki: str
    date: str
    pages: str
    multistream: bool
    in_parts: bool


def _accompanies(name: str) -> str:
    plain = without_compression(name)
    if _INDEX.fullmatch(plain):
        return "index of a multistream dump"
    return "another part of the dump, without articles" * bool(_JOB.fullmatch(plain))


def _is_dump(head: bytes) -> bool:
    return b"<mediawiki" in head[:1000]


WIKIPEDIA = Form(
    "wikipedia",
    (".xml",),
    _is_dump,
    has_name=lambda name: bool(_XML.fullmatch(without_compression(name))),
    accompanies=_accompanies,
)


def check_distinct(files: list[Path]) -> None:
    """Checks that no article would be read twice.

    Raises:
        DataError: the files hold a dump in two forms (whole and in parts, multistream and not), or two dumps of a wiki.
    """
    forms: dict[str, dict[_Form, list[Path]]] = {}
    known: dict[str, Path] = {}
    for file in files:
        name = str(file.with_name(without_compression(file.name))).replace("-multistream", "")
        if (other := known.setdefault(name, file)) != file:
            raise DataError(f"{file}: the same dump as {other}; every article would count twice, keep one of them")
        if (form := _form_of(file)) is not None:
            forms.setdefault(form.wiki, {}).setdefault(form, []).append(file)
    for wiki, found in forms.items():
        if len(found) > 1:
            one, another, *_ = (group[0] for group in found.values())
            pattern = _pattern(max(found, key=lambda form: (form.date, form.multistream, len(found[form]))))
            raise DataError(
                f"{one} and {another}: two forms of the articles of {wiki}, every article would count twice; keep one "
                f"of them, or name the files of one, such as 'wikipedia:DIRECTORY/{pattern}'"
            )


def warn_of_gaps(files: list[Path]) -> None:
    """Logs a warning where parts of a dump are missing between others, by the page numbers in the names."""
    parts: dict[_Form, list[tuple[int, int]]] = {}
    for file in files:
        match = _ARTICLES.fullmatch(without_compression(file.name))
        if match and match["first"] and (form := _form_of(file)) is not None:
            parts.setdefault(form, []).append((int(match["first"]), int(match["last"])))
    for form, ranges in parts.items():
        ranges.sort()
        before = [(1, ranges[0][0] - 1)] if ranges[0][0] > 1 else []
        gaps = before + [(one[1] + 1, other[0] - 1) for one, other in pairwise(ranges) if one[1] + 1 < other[0]]
        if gaps:
            shown = ", ".join(f"{first:,} to {last:,}" for first, last in gaps[:_SHOWN])
            LOG.warning(
                f"{form.wiki} of {form.date}: no file has the pages {shown}{', ...' * (len(gaps) > _SHOWN)}; parts of "
                "the dump are missing; run the download again"
            )


def _form_of(file: Path) -> _Form | None:
    match = _ARTICLES.fullmatch(without_compression(file.name))
    if match is None:
        return None
    in_parts = bool(match["part"] or match["first"])
    return _Form(match["wiki"].lower(), match["date"], match["pages"].lower(), bool(match["streams"]), in_parts)


def _pattern(form: _Form) -> str:
    streams = "-multistream" * form.multistream
    return f"{form.wiki}-{form.date}-pages-{form.pages}{streams}{'[0-9]*' * form.in_parts}.xml*"
