"""Source of files with one document each: plain text and Markdown.

Text is UTF-8, with or without a byte-order mark, or UTF-16 or UTF-32 with one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from preprocessing.sources.byteranges import MAX_DOCUMENT_BYTES, group_files, too_large
from preprocessing.sources.compressed import open_text, text_bytes
from preprocessing.sources.content import is_text, not_text
from preprocessing.sources.documents import NOT_UTF8, OTHER_CONTENT, BadRecord, Document
from preprocessing.sources.search import FileSearch, Form
from preprocessing.textfiles import decode_text


@dataclass(frozen=True)
class WholeFiles:
    """Files of one document each; paragraphs are separated by blank lines, the lines of one are joined."""

    files: tuple[Path, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of text; estimated for compressed files."""
        return sum(map(text_bytes, self.files))

    def records(self) -> Iterator[Document | BadRecord]:
        """One record per file; its position is the file's number."""
        for number, path in enumerate(self.files):
            with open_text(path) as file:
                data = file.read(MAX_DOCUMENT_BYTES + 1)
            if len(data) > MAX_DOCUMENT_BYTES:
                yield too_large(number, text_bytes(path))
            elif fault := not_text(data):
                yield BadRecord(OTHER_CONTENT, number, fault)
            else:
                yield _of_text(data, number)

    def place(self, position: int) -> str:
        """The file's path."""
        return f"{self.files[position]}:1"


def _of_text(data: bytes, position: int) -> Document | BadRecord:
    try:
        return Document(join_lines(decode_text(data)), position)
    except UnicodeDecodeError as error:
        return BadRecord(NOT_UTF8, position, str(error))


def join_lines(text: str) -> str:
    """The text with one line per paragraph, where blank lines separated paragraphs."""
    paragraphs: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip():
            paragraphs[-1].append(line.strip())
        elif paragraphs[-1]:
            paragraphs.append([])
    return "\n".join(" ".join(lines) for lines in paragraphs)


FILES = Form(
    "file", (".txt", ".text", ".md", ".markdown"), is_text, any_suffix=False, with_readmes=True, refuses=not_text
)


def split_files(path: Path, split_bytes: int, search: FileSearch | None = None) -> list[WholeFiles]:
    """Groups a text or Markdown file, or all in a directory, into splits of about `split_bytes`."""
    return [WholeFiles(files) for files in group_files((search or FileSearch()).files(path, FILES), split_bytes)]
