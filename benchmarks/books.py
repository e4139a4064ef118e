"""Counts of boilerplate that remains in extracted books: `python -m benchmarks.books FOLDER [FOLDER ...]`.

Searches the paragraphs of the books in each folder, and prints a row per folder and, with `--names true`, the matches
of each book. The patterns are not those of preprocessing/sources: they apply to the extracted paragraphs, and count
too much rather than too little. To compare two versions, run each in its own checkout.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path

from jsonargparse import ArgumentParser

from preprocessing.sources.books import split_books
from preprocessing.sources.documents import Document

WORD = re.compile(r"[^\W\d_]{2,}")
TITLE = re.compile(
    r"\W*(?:(?:table of )?contents\b.{0,40}"
    r"|list of (?:[\w-]+ ){0,3}(?:cantos|illustrations|plates|maps|chapters)\b.{0,20}"
    r"|illustrations\b.{0,20})\W*",
    re.IGNORECASE,
)
OPENING = re.compile(r"\W*(?:TABLE OF )?CONTENTS\b.{40,}")
ENDED = re.compile(r"[.!?:;,]['\"”’)\]]*$")
VERSE_NUMBER = re.compile(r"(?<=[a-z,;:!?.'’\"-]) (\d{1,4})(?= [A-Z\"'“‘])")
CAPTION = re.compile(r"[\w-]+\.(?:jpe?g|png|gif)\b|^(?:Full|Original) Size$|^Enlarge$|\[Illustration", re.IGNORECASE)
FOOTNOTE = re.compile(r"\[(?:Foot|Side)note\b", re.IGNORECASE)
TRANSCRIBER = re.compile(r"^\W*(?:original )?transcri(?:ber|ption)['’]?s?['’]? notes?\b", re.IGNORECASE)
_RISING = (4, 5, 8, 10, 20)


def contents_tables(paragraphs: list[str]) -> int:
    """Titles of tables with at least three short lines below, not ended as sentences are, and tables in one line."""
    count = 0
    for number, paragraph in enumerate(paragraphs):
        below = paragraphs[number + 1 : number + 6]
        entries = sum(len(line) < 100 and not ENDED.search(line) for line in below)
        count += bool(TITLE.fullmatch(paragraph) and entries >= 3) or bool(OPENING.match(paragraph))
    return count


def verse_numbers(paragraphs: list[str]) -> int:
    """Numbers within sentences that increase by a fixed step, at least three times."""
    numbers = [int(match[1]) for paragraph in paragraphs for match in VERSE_NUMBER.finditer(paragraph)]
    found: set[int] = set()
    for step in _RISING:
        start = 0
        for place in range(1, len(numbers) + 1):
            if place == len(numbers) or numbers[place] - numbers[place - 1] != step:
                found |= set(range(start, place)) if place - start >= 3 and numbers[start] % step == 0 else set()
                start = place
    return len(found)


def matches(pattern: re.Pattern[str]) -> Callable[[list[str]], int]:
    """A count of the paragraphs in which a pattern is found."""
    return lambda paragraphs: sum(bool(pattern.search(paragraph)) for paragraph in paragraphs)


COUNTS: dict[str, Callable[[list[str]], int]] = {
    "contents tables": contents_tables,
    "verse numbers": verse_numbers,
    "captions": matches(CAPTION),
    "raw footnotes": matches(FOOTNOTE),
    "transcriber's notes": matches(TRANSCRIBER),
}


def main(folders: list[Path], names: bool) -> None:
    """Prints a Markdown table: books, words, and for each count the books that have it and how often.

    Args:
        folders: directories, tar or zip files of books.
        names: whether to list the books with something left.
    """
    print("| | books | thousand words | " + " | ".join(COUNTS) + " | s |")
    print("|---" * (len(COUNTS) + 4) + "|")
    left = []
    for folder in folders:
        start = time.process_time()
        books = list(read(folder))
        seconds = time.process_time() - start
        found = [{name: count(paragraphs) for name, count in COUNTS.items()} for _, paragraphs in books]
        words = sum(len(WORD.findall(paragraph)) for _, paragraphs in books for paragraph in paragraphs)
        cells = [f"{sum(b[name] for b in found)} in {sum(b[name] > 0 for b in found)}" for name in COUNTS]
        print(f"| {folder.name} | {len(books)} | {words / 1e3:,.0f} | " + " | ".join(cells) + f" | {seconds:.1f} |")
        left += [(place, counts) for (place, _), counts in zip(books, found, strict=True) if any(counts.values())]
    for place, counts in left if names else ():
        print(f"{place}: " + ", ".join(f"{name} {count}" for name, count in counts.items() if count))


def read(folder: Path) -> list[tuple[str, list[str]]]:
    """Path and paragraphs of each readable book."""
    return [
        (split.place(record.position), record.text.split("\n"))
        for split in split_books(folder, 10**12)
        for record in split.records()
        if isinstance(record, Document)
    ]


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m benchmarks.books")
    parser.add_argument("folders", type=Path, nargs="+", help="Directories, tar or zip files of books.")
    parser.add_argument("--names", type=bool, default=False, help="Whether to list the books with something left.")
    options = parser.parse_args()
    main(options.folders, options.names)
