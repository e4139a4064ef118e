"""Language of documents, and warnings if it is likely wrong.

A user's `--language` applies to all sources. Otherwise each Wikipedia dump states its own, and other text is English.
The language determines how sentences are split. A warning is given if a dump contradicts the user, or if py3langid
classifies most of a sample as another language.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import islice

import py3langid

from preprocessing.corpus.corpus import Corpus
from preprocessing.languages import alike, same_language
from preprocessing.sources.documents import InputSplit
from preprocessing.sources.wikipedia import Dump

DEFAULT_LANGUAGE = "en"
EMBEDDED_SOURCE = "embedded"
"""The kind of source whose language is known and not checked."""
_FILES, _DOCUMENTS = 32, 8
"""Number of files per source and language, and of documents per file, that are classified; takes some 0.2 s."""
_DOCUMENT_CHARS = 2000
_LEAST_CHARS = 2000
"""Fewest characters of a sample for a classification."""


def language_of(split: InputSplit, given: str) -> str:
    """The language of an input split: as given, otherwise that of its dump, otherwise English."""
    return given or dump_language(split) or DEFAULT_LANGUAGE


def dump_language(split: InputSplit) -> str:
    """The language that the split's dump states; empty if it is no dump or states none."""
    return split.language if isinstance(split, Dump) else ""


def language_messages(specification: str, splits: Sequence[InputSplit], given: str) -> tuple[list[str], list[str]]:
    """Messages before a source is read: notes on languages of its dumps, and warnings where they contradict the
    user."""
    found = sorted({dump_language(split) for split in splits} - {""})
    if not given:
        lines = [f"{specification}: language {', '.join(found)}, as stated by the dump"] if found else []
        if any(isinstance(split, Dump) and not split.language for split in splits):
            lines.append(
                f"{specification}: a dump states no language and is read as {DEFAULT_LANGUAGE}; set --language"
            )
        return lines, []
    return [], [
        f"{specification}: warning: --language is {given}, but the dump is in {other}: its sentences are split by the "
        f"rules of {given}; leave --language out to use {other}"
        for other in found
        if not same_language(given, other)
    ]


def documents_by_language(corpus: Corpus) -> dict[str, int]:
    """Number of stored documents by language."""
    counts: Counter[str] = Counter()
    for file in corpus.files:
        counts[file.language] += sum(file.documents)
    return {language: count for language, count in sorted(counts.items()) if count}


def language_warnings(corpus: Corpus, given_before: Sequence[str]) -> list[str]:
    """Warnings about sources whose text is classified as another language than its own; the same in every run.

    Args:
        corpus: all documents.
        given_before: warnings already given; their sources are not checked.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for number, file in enumerate(corpus.files):
        source = corpus.sources[file.source]
        if source.partition(":")[0] != EMBEDDED_SOURCE and not any(
            line.startswith(f"{source}: ") for line in given_before
        ):
            groups.setdefault((source, file.language), []).append(number)
    warnings = []
    for (source, language), files in groups.items():
        step = -(-len(files) // _FILES)
        sample = [text for number in files[::step] for text in islice(corpus.texts_of(number), _DOCUMENTS)]
        if guess := other_language([text[:_DOCUMENT_CHARS] for text in sample], language):
            other, share = guess
            warnings.append(
                f"{source}: warning: the text was read as {language}, but {share:.0%} of a sample is classified as "
                f"{other}; if that is correct, extract again with --language {other}"
            )
    return warnings


def other_language(sample: Iterable[str], language: str) -> tuple[str, float] | None:
    """The unexpected language of most texts of a sample, and their share; None if there is none.

    Also None if the sample is too small, or py3langid does not know the expected language.
    """
    texts = [text for text in sample if text.strip()]
    if sum(map(len, texts)) < _LEAST_CHARS:
        return None
    guesses = Counter(py3langid.classify(text)[0] for text in texts)
    for other, count in unexpected_languages(guesses, [language])[:1]:
        if 2 * count > len(texts):
            return other, count / len(texts)
    return None


def unexpected_languages(guesses: Mapping[str, int], expected: Iterable[str]) -> list[tuple[str, int]]:
    """Classified languages that differ from all expected ones, with their numbers of texts, most frequent first.

    Args:
        guesses: number of texts by classified language.
        expected: codes; if py3langid knows none of them, the result is empty.
    """
    known = [language for language in expected if is_known(language)]
    others = [item for item in guesses.items() if known and not any(alike(item[0], language) for language in known)]
    return sorted(others, key=lambda item: (-item[1], item[0]))


def is_known(language: str) -> bool:
    """Whether py3langid knows this language."""
    return any(same_language(language, known) for known in _known())


@cache
def _known() -> list[str]:
    return [language for language, _ in py3langid.rank("")]
