"""Interface of the sources: input splits, documents, and records that yield no document.

A source cuts its input into *input splits*: small picklable descriptions, such as a byte range of a file, each read by
one worker. Splits depend on the input and the configuration only, never on the number of workers.
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
"""Share of a file that counts as lost if the file stops before its end, since the true size is unknown."""


@dataclass(frozen=True)
class Document:
    """A document of the corpus."""

    text: str
    """Paragraphs, one per line; no sentence crosses a line."""
    position: int
    """Where the document starts in its input split; `InputSplit.place` makes it human-readable."""


@dataclass(frozen=True)
class BadRecord:
    """A part of the input that cannot be used, or not entirely."""

    kind: str
    """One of the kinds above."""
    position: int
    """As `Document.position`."""
    detail: str
    """Description of the problem, for the report."""
    lost_bytes: int = 0
    """Estimated bytes of text lost, if that may be far more than a document, as the rest of a damaged file is. Counted
    as `InputSplit.num_bytes`."""


@dataclass(frozen=True)
class LeftOut:
    """A document that its source leaves out without an error in the input, such as a disambiguation page."""

    reason: str
    """Reason, for the report."""
    position: int
    """As `Document.position`."""


class InputSplit(Protocol):
    """A part of the input that one worker reads; a picklable value."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The input files that the split reads."""

    @property
    def num_bytes(self) -> int:
        """Estimated bytes of text."""

    def records(self) -> Iterator[Document | BadRecord | LeftOut | ArchiveFiles]:
        """Yields the records in order; for an archive of which members are left out, also their counts."""

    def place(self, position: int) -> str:
        """The human-readable position: `file:line`, or the file and the name of the record."""


@dataclass(frozen=True)
class SingleFile:
    """Base of the input splits that read from one file."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)
