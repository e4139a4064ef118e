"""Reads the head of a dump, its <siteinfo>: the language of the wiki, its namespaces of files and categories."""

import html
import re
from pathlib import Path
from typing import NamedTuple

from preprocessing.errors import DataError
from preprocessing.languages import language_of_wiki, wiki_of_database
from preprocessing.sources.dumpfile import chunks
from preprocessing.sources.namespaces import CANONICAL_NAMESPACES, MEDIA_NAMESPACE, namespace_aliases

HEAD_END = b"</siteinfo>"
_MAX_HEAD_BYTES = 1 << 20
_LANGUAGE = re.compile(r'<mediawiki\b[^<>]*\bxml:lang="([^"<>]*)"')
_DATABASE = re.compile(r"<dbname>([^<]*)</dbname>")
_NAMESPACE = re.compile(r'<namespace key="(?:6|14)"[^<>]*>([^<]+)</namespace>')
"""Names of the namespaces of files and of categories."""
_MEDIA = re.compile(r'<namespace key="-2"[^<>]*>([^<]+)</namespace>')


class SiteInfo(NamedTuple):
    """Properties of the wiki that reading its pages requires."""

    language: str
    """Language code of the wiki; empty if the dump does not state it."""
    dropped_namespaces: tuple[str, ...]
    """Names, in the wiki's language and in English, of the namespaces whose links are removed with their text."""
    media_namespaces: tuple[str, ...] = (MEDIA_NAMESPACE,)
    """Names of the namespace of direct links to files, whose labels are shown."""


def read_siteinfo(path: Path) -> SiteInfo:
    """Reads the head of a dump.

    Raises:
        DataError: the file is not a MediaWiki dump.
    """
    head, damage = b"", ""
    for chunk in chunks(path, 0, 1):
        head += chunk.data
        damage = chunk.damage
        if damage or HEAD_END in head or len(head) > _MAX_HEAD_BYTES:
            break
    if b"<mediawiki" not in head or HEAD_END not in head:
        raise DataError(
            f"{path}: not a MediaWiki dump ({damage or 'no <mediawiki> with its <siteinfo> at the start'}); give a "
            "pages-articles file of export version 0.9 to 0.11, .xml or .xml.bz2, or download it again"
        )
    return _siteinfo(head.partition(HEAD_END)[0].decode("utf-8", errors="replace"))


def _siteinfo(head: str) -> SiteInfo:
    tag, database = (found[1].strip() if (found := rule.search(head)) else "" for rule in (_LANGUAGE, _DATABASE))
    language = language_of_wiki(tag, database)
    names = {*CANONICAL_NAMESPACES, *map(html.unescape, _NAMESPACE.findall(head))}
    for wiki in (language, wiki_of_database(database)):
        names |= namespace_aliases(wiki)
    media = {MEDIA_NAMESPACE, *map(html.unescape, _MEDIA.findall(head))}
    return SiteInfo(language, tuple(sorted(names)), tuple(sorted(media)))
