"""Measures the text of each source: remaining markup, lines that are no sentences, the language.

A sample of bounded size is read, the same in every run: some documents of each source, and some places in each.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import py3langid
from tokenizers import Tokenizer

from preprocessing.corpus.corpus import Corpus
from preprocessing.corpus.language import unexpected_languages
from preprocessing.tokenizer.normalization import Removal, removal

DOCUMENTS_READ = 2000
"""Number of documents read of all sources together; takes at most about ten seconds."""
_MOST, _FEWEST = 400, 20
"""Largest and smallest number of documents read of one source."""
_PLACES, _LINES = 4, 50
"""Number of places of a document that are read, and of lines at each."""
_JUDGED_CHARS, _FEWEST_CHARS = 2000, 200
"""Number of characters whose language is classified, and fewest characters of a document for it."""
SHORT_CHARS = 12
"""Longest line that counts as very short, in characters."""
MARKED_LINES = 0.5
"""Share of lines with tags above which a document counts as HTML."""
_MARKUP = re.compile(r"[<>{}\[\]|=*_#\\^~`]")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!(?:--|DOCTYPE)|&(?:[a-z]+|#\d+);", re.IGNORECASE)
_RULE = re.compile(r"\|\s*:?-{3,}:?\s*\|")
_LETTER = re.compile(r"[^\W\d_]")
_EXAMPLE_CHARS = 60


@dataclass
class Measure:
    """Number of lines, or of characters, with a property."""

    count: int = 0
    """Number of lines or characters."""
    example: str = ""
    """Excerpt of the first line with the property."""

    def add(self, number: int, line: str, place: int = 0) -> None:
        """Adds `number` for a line; `place` is the position of the property in the line."""
        self.count += number
        if number and not self.example:
            start = max(0, place - _EXAMPLE_CHARS // 4)
            self.example = line[start : start + _EXAMPLE_CHARS]


@dataclass
class TextFigures:
    """Counts of a sample of a source's documents."""

    language: str
    """Expected language of the text, or several separated by commas; empty if unknown."""
    documents: int = 0
    """Number of documents read."""
    lines: int = 0
    """Number of lines read; a line is a sentence as extracted."""
    characters: int = 0
    """Number of characters of these lines."""
    markup: Measure = field(default_factory=Measure)
    """Characters that are rare in prose: brackets, bars, asterisks and the like."""
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
    """Number of documents by classified language; short ones are not classified."""
    removed: Removal | None = None
    """Characters that the tokenizer's normalizer removes; None if there is no tokenizer."""

    @property
    def judged(self) -> int:
        """Number of documents whose language was classified."""
        return self.languages.total()

    @property
    def unexpected_languages(self) -> list[tuple[str, int]]:
        """Unexpected languages and their numbers of documents, most frequent first; empty if the classifier does not
        know the expected language."""
        return unexpected_languages(self.languages, self.language.split(", "))

    @property
    def foreign(self) -> int:
        """Number of documents classified as an unexpected language."""
        return sum(count for _, count in self.unexpected_languages)

    def add(self, document: list[str]) -> None:
        """Adds the counts of a document."""
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
        language: expected language, if the files do not state it.
        tokenizer: tokenizer whose normalizer is applied to the text, if there is one.
    """
    count = min(_MOST, max(_FEWEST, DOCUMENTS_READ // len(corpus.sources)))
    found = []
    for number in range(len(corpus.sources)):
        said = {getattr(file, "language", "") for file in corpus.files if file.source == number} - {""}
        found.append(figures_of(corpus.spread(number, count), ", ".join(sorted(said)) or language, tokenizer))
    return found


def figures_of(documents: Iterable[list[str]], language: str, tokenizer: Tokenizer | None) -> TextFigures:
    """Measures some documents; see `measure_texts`."""
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
    """The lines of a document that are read: all, or those at a few evenly spread places."""
    if num_lines <= _PLACES * _LINES:
        yield slice(0, num_lines)
        return
    for start in np.linspace(0, num_lines - _LINES, _PLACES).astype(int).tolist():
        yield slice(start, start + _LINES)


def _middle(document: list[str]) -> tuple[int, int]:
    """Range of the lines whose language is classified: the middle of the document, as its beginning may be titles."""
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
