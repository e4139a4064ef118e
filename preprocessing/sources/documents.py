"""What a source of text gives: documents, and the records that it could not make a document of.

A source divides its input into *splits*, small pickled descriptions (this file, from this byte to that), each of which
some worker reads. Splits depend on the input and the configuration only, never on the number of workers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from preprocessing.inputs import ArchiveFiles

NOT_UTF8 = "not UTF-8"
BROKEN_JSON = "broken JSON line"
NO_TEXT_KEY = "text key missing"
NO_SENTENCES = "no sentences"
DAMAGED_DUMP = "damaged dump"
LONG_SENTENCE = "sentence too long"
DOCUMENT_TOO_LARGE = "document too large"
BOOK_TOO_LARGE = "book too large"
DAMAGED_EPUB = "damaged EPUB"
ENCRYPTED_EPUB = "encrypted EPUB"
DAMAGED_ARCHIVE = "damaged archive"
UNREADABLE = "unreadable file"
OTHER_CONTENT = "content of another kind"
CONTRADICTORY_MARKERS = "contradictory Gutenberg markers"

MISSING_END = 0.5
"""Share of a file that counts as lost where the file stops before its end: how much was to come, nobody knows."""


@dataclass(frozen=True)
class Document:
    """One document."""

    text: str
    """Paragraphs, one per line; no sentence crosses a line."""
    position: int
    """Where in its split's input it starts; `InputSplit.place` makes it readable."""


@dataclass(frozen=True)
class BadRecord:
    """A part of the input that is not, or not entirely, usable."""

    kind: str
    """One of the kinds above."""
    position: int
    """As `Document.position`."""
    detail: str
    """What is wrong, for the report."""
    lost_bytes: int = 0
    """About how many bytes of text are lost with it, where that may be far more than a document: the rest of a damaged
    file. As `InputSplit.num_bytes`."""


@dataclass(frozen=True)
class LeftOut:
    """A document that its source leaves out, which is no fault of the input: a page that only leads to others."""

    reason: str
    """Why, for the report."""
    position: int
    """As `Document.position`."""


class InputSplit(Protocol):
    """A part of the input that one worker reads; a picklable value."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The input files it reads from."""

    @property
    def num_bytes(self) -> int:
        """About how many bytes of text it holds."""

    def records(self) -> Iterator[Document | BadRecord | LeftOut | ArchiveFiles]:
        """Reads it, in order; an archive also tells what it holds, where not all of it is read."""

    def place(self, position: int) -> str:
        """The position as `file:line`, or as the file and what its records are called by, for people."""


@dataclass(frozen=True)
class SingleFile:
    """Base of the input splits that read from one file."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)
