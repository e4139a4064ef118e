"""Looks at the documents' text, source by source: markup that is still in, lines that are no sentences, the language.

A sample of bounded size is read, the same every time: some documents of each source, some places in each.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import py3langid
from tokenizers import Tokenizer

from preprocessing.corpus.corpus import Corpus
from preprocessing.corpus.language import strangers
from preprocessing.tokenizer.normalization import Removal, removal

DOCUMENTS_READ = 2000
"""Documents that are read of all sources together, some ten seconds' work at most."""
_MOST, _FEWEST = 400, 20
"""Documents of one source."""
_PLACES, _LINES = 4, 50
"""Places of a document that are read, and lines at each."""
_JUDGED_CHARS, _FEWEST_CHARS = 2000, 200
"""Characters whose language is guessed, and what a document must have for it."""
SHORT_CHARS = 12
"""A line of at most so many characters is very short."""
MARKED_LINES = 0.5
"""Share of the lines with tags from which on a document counts as HTML."""
_MARKUP = re.compile(r"[<>{}\[\]|=*_#\\^~`]")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!(?:--|DOCTYPE)|&(?:[a-z]+|#\d+);", re.IGNORECASE)
_RULE = re.compile(r"\|\s*:?-{3,}:?\s*\|")
_LETTER = re.compile(r"[^\W\d_]")
_EXAMPLE_CHARS = 60


@dataclass
class Measure:
    """How many of the lines have a property."""

    count: int = 0
    """Number of them; of characters, where characters are counted."""
    example: str = ""
    """A piece of the first one."""

    def add(self, number: int, line: str, place: int = 0) -> None:
        """Counts a line, or the characters of it that count; `place` is where the property shows."""
        self.count += number
        if number and not self.example:
            start = max(0, place - _EXAMPLE_CHARS // 4)
            self.example = line[start : start + _EXAMPLE_CHARS]


@dataclass
class TextFigures:
    """What was counted in a sample of a source's documents."""

    language: str
    """Language that the text should be in, or several with commas between them; empty: nobody said it."""
    documents: int = 0
    """Documents that were looked at."""
    lines: int = 0
    """Their lines that were looked at; a line is what extraction took for a sentence."""
    characters: int = 0
    """Characters of these."""
    markup: Measure = field(default_factory=Measure)
    """Characters that prose hardly has: brackets, bars, stars, and the like."""
    tags: Measure = field(default_factory=Measure)
    """Lines with HTML tags or entities."""
    rules: Measure = field(default_factory=Measure)
    """Lines with the rule of a Markdown table, |---|---|."""
    letterless: Measure = field(default_factory=Measure)
    """Lines without a letter."""
    short: Measure = field(default_factory=Measure)
    """Lines of at most SHORT_CHARS characters."""
    html: Measure = field(default_factory=Measure)
    """Documents with tags in more than MARKED_LINES of their lines."""
    languages: Counter[str] = field(default_factory=Counter)
    """Documents by the language that they seem to be in; short ones are not judged."""
    removed: Removal | None = None
    """What the tokenizer's normalizer removes; None: there is no tokenizer."""

    @property
    def judged(self) -> int:
        """Documents whose language was guessed."""
        return self.languages.total()

    @property
    def strangers(self) -> list[tuple[str, int]]:
        """The languages of those that seem to be in another one, most frequent first; none where the classifier does
        not know the one expected."""
        return strangers(self.languages, self.language.split(", "))

    @property
    def foreign(self) -> int:
        """Documents that seem to be in another language."""
        return sum(count for _, count in self.strangers)

    def add(self, document: list[str]) -> None:
        """Counts a document."""
        lines = [line for place in _places(len(document)) for line in document[place]]
        for line in lines:
            tag, rule = _TAG.search(line), _RULE.search(line)
            self.characters += len(line)
            self.markup.add(len(_MARKUP.findall(line)), line)
            self.tags.add(bool(tag), line, tag.start() if tag else 0)
            self.rules.add(bool(rule), line, rule.start() if rule else 0)
            self.letterless.add(not _LETTER.search(line), line)
            self.short.add(len(line) <= SHORT_CHARS, line)
        self.documents += 1
        self.lines += len(lines)
        tagged = [line for line in lines if _TAG.search(line)]
        self.html.add(len(tagged) > MARKED_LINES * len(lines), "".join(tagged[:1]))
        text = " ".join(document[place] for place in range(*_middle(document)))
        if len(text) >= _FEWEST_CHARS:
            self.languages[py3langid.classify(text[:_JUDGED_CHARS])[0]] += 1


def measure_texts(corpus: Corpus, language: str, tokenizer: Tokenizer | None) -> list[TextFigures]:
    """The figures of each source of a corpus.

    Args:
        corpus: the documents.
        language: that the text should be in, where its files do not say it.
        tokenizer: whose normalizer is tried on the text, if there is one.
    """
    count = min(_MOST, max(_FEWEST, DOCUMENTS_READ // len(corpus.sources)))
    found = []
    for number in range(len(corpus.sources)):
        said = {getattr(file, "language", "") for file in corpus.files if file.source == number} - {""}
        found.append(figures_of(corpus.spread(number, count), ", ".join(sorted(said)) or language, tokenizer))
    return found


def figures_of(documents: Iterable[list[str]], language: str, tokenizer: Tokenizer | None) -> TextFigures:
    """The figures of some documents."""
    figures = TextFigures(language)
    characters: Counter[str] = Counter()
    for document in documents:
        figures.add(document)
        if tokenizer is not None:
            for place in _places(len(document)):
                for line in document[place]:
                    characters.update(line)
    if tokenizer is not None:
        counts = {character: count for character, count in characters.items() if not character.isspace()}
        figures.removed = removal(tokenizer, counts)
    return figures


def _places(num_lines: int) -> Iterator[slice]:
    """The parts of a document with so many lines that are read: all, or a few evenly spread ones."""
    if num_lines <= _PLACES * _LINES:
        yield slice(0, num_lines)
        return
    for start in np.linspace(0, num_lines - _LINES, _PLACES).astype(int).tolist():
        yield slice(start, start + _LINES)


def _middle(document: list[str]) -> tuple[int, int]:
    """First and last line of the text whose language is guessed: from the middle, as the beginning may be titles."""
    start = stop = len(document) // 2
    size = 0
    while size < _JUDGED_CHARS and (start > 0 or stop < len(document)):
        if stop < len(document):
            size += len(document[stop])
            stop += 1
        if start > 0:
            start -= 1
            size += len(document[start])
    return start, stop
