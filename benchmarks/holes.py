"""Wikipedia sentences from which an unknown template is missing: `python -m benchmarks.holes FILE ...`.

Such a gap, called a hole, is an unknown template after words on a line, which is extracted as empty text, unless the
tables of its language define it as empty or as a mark (preprocessing/sources/wikis). Prints a row per file: language,
articles, sentences, sentences with a hole, and sentences in which an unknown template is replaced by its only argument;
then the names of these templates, the most frequent first.
"""

import html
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from jsonargparse import ArgumentParser

from preprocessing.sentences import split_sentences
from preprocessing.sources.templates import LOST, Fate, Templates, template_name
from preprocessing.sources.wikipedia import Article, split_wikipedia
from preprocessing.sources.wikitext import to_prose

HOLE, GUESS = "\ue000", "\ue001"
MAX_CHARS = 10_000
NAMESPACES = ("Category", "File", "Image")


class Marking(Templates):
    """Templates that mark the places of unknown templates, and of those replaced by their argument."""

    def __init__(self, language: str) -> None:
        super().__init__(language)
        self.names: dict[str, Counter[str]] = {HOLE: Counter(), GUESS: Counter()}

    def text(self, content: str, title: str = "") -> str:
        """Return the text of a template as in Templates, with marks for holes and guesses."""
        name = content.partition("|")[0]
        text, fate = super().text(content, title), self.fate(name)
        if "\n" in content.strip() or fate is Fate.GONE or (text and fate is Fate.TEXT):
            return text
        mark = GUESS if text else HOLE
        self.names[mark][template_name(name.replace(LOST, ""))[:40]] += 1
        return f"{mark}{text}"


def main(files: list[Path], language: str = "", num_names: int = 15) -> None:
    """Prints the table.

    Args:
        files: dumps, or JSON Lines with the wikitext in `text`.
        language: code of the language, for files that do not say it.
        num_names: names of templates to print per file.
    """
    print("| file | language | articles | sentences | with a hole | one in | with a guess |")
    print("|---|---|---|---|---|---|---|")
    notes = []
    for file in files:
        known = language or dump_language(file)
        templates = Marking(known)
        counts = Counter[str]()
        for title, wikitext in articles(file):
            counts["articles"] += 1
            count_sentences(to_prose(wikitext, NAMESPACES, known, title, templates), known, counts)
        one_in = counts["sentences"] / counts[HOLE] if counts[HOLE] else float("inf")
        shown = [f"{counts[key]:,}" for key in ("articles", "sentences", HOLE)]
        print(f"| {file.name} | {known} | {' | '.join(shown)} | {one_in:.0f} | {counts[GUESS]:,} |", flush=True)
        for mark, kind in ((HOLE, "holes"), (GUESS, "guesses")):
            names = ", ".join(f"{name} {count}" for name, count in templates.names[mark].most_common(num_names))
            notes.append(f"{file.name}, {kind}: {names}")
    print("\n" + "\n".join(notes))


def count_sentences(prose: str, language: str, counts: Counter[str]) -> None:
    """Counts sentences, and those with each mark."""
    for line in prose.split("\n"):
        for sentence in split_sentences(line, language, MAX_CHARS)[0]:
            counts["sentences"] += 1
            counts.update(mark for mark in (HOLE, GUESS) if mark in sentence)


def articles(file: Path) -> Iterator[tuple[str, str]]:
    """Title and wikitext of the articles in a dump or in JSON Lines; of a dump that was cut off, as far as it goes."""
    if file.suffix == ".jsonl":
        with file.open(encoding="utf-8") as lines:
            yield from ((record.get("title", ""), record["text"]) for record in map(json.loads, lines))
        return
    for split in split_wikipedia(file, 10**12):
        yield from ((page.title, page.wikitext) for page in split.articles() if isinstance(page, Article))


def dump_language(file: Path) -> str:
    """The language that a dump names, or English."""
    if file.suffix == ".jsonl":
        return "en"
    found = re.match(r"[a-z-]+", html.unescape(split_wikipedia(file, 10**12)[0].language))
    return found[0] if found else "en"


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m benchmarks.holes")
    parser.add_argument("files", type=Path, nargs="+", help="Dumps, or JSON Lines with the wikitext in `text`.")
    parser.add_argument("--language", default="", help="Code of the language, for files that do not say it.")
    parser.add_argument("--num_names", type=int, default=15, help="Names of templates to print per file.")
    arguments = parser.parse_args()
    main(arguments.files, arguments.language, arguments.num_names)
