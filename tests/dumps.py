"""MediaWiki dumps for tests, and the records that are read from them."""

import bz2

from preprocessing.sources.documents import BadRecord, Document, LeftOut
from preprocessing.sources.wikipedia import split_wikipedia

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-{0}/" version="{0}" xml:lang="de">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <namespaces>
      <namespace key="-2" case="first-letter">Medium</namespace>
      <namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">Datei</namespace>
      <namespace key="14" case="first-letter">Kategorie</namespace>
    </namespaces>
  </siteinfo>
"""
TAIL = "</mediawiki>\n"


def page(title, text, inside="<ns>0</ns>", model="wikitext"):
    """Return a page as MediaWiki exports it."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (
        f"  <page>\n    <title>{title}</title>\n    {inside}\n    <id>1</id>\n    <revision>\n      <id>2</id>\n"
        f"      <model>{model}</model>\n"
        f'      <text bytes="{len(text)}" xml:space="preserve">{escaped}</text>\n    </revision>\n  </page>\n'
    )


def dump(*pages, version="0.10"):
    """Return a whole dump."""
    return (HEAD.format(version) + "".join(pages) + TAIL).encode()


def multistream(*parts):
    """Compress each part to a bz2 stream of its own, as Wikimedia does with 100 pages."""
    return b"".join(bz2.compress(part if isinstance(part, bytes) else part.encode()) for part in parts)


def read(splits):
    """Return all records of all splits."""
    return [record for split in splits for record in split.records()]


def texts(path, split_bytes=10**6):
    """Return the texts of a dump without bad records."""
    records = read(split_wikipedia(path, split_bytes))
    assert all(isinstance(record, Document | LeftOut) for record in records)
    return [record.text for record in records if isinstance(record, Document)]


def left_out(path):
    """Return the reasons why pages of a dump are left out."""
    return [record.reason for record in read(split_wikipedia(path, 10**6)) if isinstance(record, LeftOut)]


def bad(path, split_bytes=10**6):
    """Return the text or bad kind of each record, and the places of the bad ones."""
    splits = split_wikipedia(path, split_bytes)
    found = [(split, record) for split in splits for record in split.records()]
    places = [split.place(record.position) for split, record in found if isinstance(record, BadRecord)]
    return [getattr(record, "text", None) or record.kind for _, record in found], places
