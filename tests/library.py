"""Books in directories, tar files and zip files, for tests."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

from preprocessing.inputs import ArchiveFiles
from preprocessing.sources.books import split_books
from preprocessing.sources.documents import Document

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
PACKERS = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}

TEXT = "CHAPTER I\n\nIt was a _dark_\nnight.[1]\n\n“No,” she\nsaid.\n\nTiger, tiger,\nburning bright\n\nTHE END\n"
MARKDOWN = (
    "## CHAPTER I\n\nIt was a *dark*\nnight.[^1]\n\n“No,” she said.\n\n> Tiger, tiger,  \n> burning bright\n\n# THE END"
)
XHTML = (
    "<html><head><title>T</title></head><body><h2>CHAPTER I</h2><p>It was a <i>dark</i>\nnight.<sup>1</sup></p>"
    "<p>“No,” she said.</p><blockquote>Tiger, tiger,<br/>burning bright</blockquote><h3>THE END</h3></body></html>"
)
PARAGRAPHS = "CHAPTER I\nIt was a dark night.\n“No,” she said.\nTiger, tiger, burning bright\nTHE END"


def make_zip(members):
    """Write a zip file of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def make_tar(members):
    """Write a tar file of these members, with one directory and one link."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind in (("a", tarfile.DIRTYPE), ("link.txt", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


EPUB = make_zip(
    {
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="b.opf"/></rootfiles></container>',
        "b.opf": '<package><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/></spine></package>',
        "a.xhtml": XHTML,
    }
)
LIBRARY = {
    "a/1.txt": TEXT.encode(),
    "a/2.md": MARKDOWN.encode(),
    "a/" + "long name " * 20 + ".txt": b"Long.",
    "b/3.EPUB": EPUB,
    **{f"c/{number:02d}.txt": f"Book {number}.\n\n".encode() * number for number in range(1, 30)},
}
OTHERS = {"a/._1.txt": b"\x00\x05\x16\x07", "b/notes.pdf": b"%PDF", "c/.hidden.md": b"no"}


def write_library(folder, members):
    """Write the members as files."""
    for name, data in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write(path, data):
    """Write a file and return its path."""
    path.write_bytes(data)
    return path


def read(path, split_bytes=10**6):
    """Return the documents and bad records of all splits."""
    records = (record for split in split_books(path, split_bytes) for record in split.records())
    return [record for record in records if not isinstance(record, ArchiveFiles)]


def texts(records):
    """Return the texts of all documents, and assert that no record is bad."""
    assert all(isinstance(record, Document) for record in records), records
    return [record.text for record in records]
