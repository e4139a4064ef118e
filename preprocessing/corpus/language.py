"""Which language a document is taken to be in, and whether its text looks like it.

A user's `--language` holds for all sources. Otherwise each Wikipedia dump says its own, and other text is English. The
language decides how sentences are split, so a wrong one is worth a warning: where a dump contradicts the user, and
where py3langid finds most of a sample to be in another language.
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
"""The source that needs no look: our own text."""
_FILES, _DOCUMENTS = 32, 8
"""Files per source and language, and documents per file, that are looked at: some 0.2 s."""
_DOCUMENT_CHARS = 2000
_LEAST_CHARS = 2000
"""A sample with less text than this tells nothing."""


def language_of(split: InputSplit, given: str) -> str:
    """The language of a split: as given, else of its dump, else English."""
    return given or dump_language(split) or DEFAULT_LANGUAGE


def dump_language(split: InputSplit) -> str:
    """What the split's dump says; empty if it is no dump or says nothing."""
    return split.language if isinstance(split, Dump) else ""


def told(specification: str, splits: Sequence[InputSplit], given: str) -> tuple[list[str], list[str]]:
    """What to tell before a source is read: languages taken from its dumps; warnings where they contradict the user."""
    found = sorted({dump_language(split) for split in splits} - {""})
    if not given:
        lines = [f"{specification}: language {', '.join(found)}, as the dump says"] if found else []
        if any(isinstance(split, Dump) and not split.language for split in splits):
            lines.append(f"{specification}: a dump says no language, it is read as {DEFAULT_LANGUAGE}; give --language")
        return lines, []
    return [], [
        f"{specification}: warning: --language is {given}, but the dump is in {other}: its sentences are split by the "
        f"rules of {given}; leave --language out to use {other}"
        for other in found
        if not same_language(given, other)
    ]


def documents_by_language(corpus: Corpus) -> dict[str, int]:
    """Number of documents stored in each language."""
    counts: Counter[str] = Counter()
    for file in corpus.files:
        counts[file.language] += sum(file.documents)
    return {language: count for language, count in sorted(counts.items()) if count}


def unlike_text(corpus: Corpus, told_before: Sequence[str]) -> list[str]:
    """Warnings about sources whose text looks like another language than it is taken for; the same for every run.

    Args:
        corpus: all documents.
        told_before: warnings already given; their sources are not looked at.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for number, file in enumerate(corpus.files):
        source = corpus.sources[file.source]
        if source != EMBEDDED_SOURCE and not any(line.startswith(f"{source}: ") for line in told_before):
            groups.setdefault((source, file.language), []).append(number)
    warnings = []
    for (source, language), files in groups.items():
        step = -(-len(files) // _FILES)
        sample = [text for number in files[::step] for text in islice(corpus.texts_of(number), _DOCUMENTS)]
        if guess := other_language([text[:_DOCUMENT_CHARS] for text in sample], language):
            other, share = guess
            warnings.append(
                f"{source}: warning: the text was read as {language}, but {share:.0%} of a sample looks like {other}; "
                f"if it is, extract again with --language {other}"
            )
    return warnings


def other_language(sample: Iterable[str], language: str) -> tuple[str, float] | None:
    """The language of most of these texts and their share, if few are in the one expected; None where all is well.

    Also None where the sample is too small, or py3langid does not know the expected language.
    """
    texts = [text for text in sample if text.strip()]
    if sum(map(len, texts)) < _LEAST_CHARS:
        return None
    guesses = Counter(py3langid.classify(text)[0] for text in texts)
    for other, count in strangers(guesses, [language])[:1]:
        if 2 * count > len(texts):
            return other, count / len(texts)
    return None


def strangers(guesses: Mapping[str, int], expected: Iterable[str]) -> list[tuple[str, int]]:
    """The languages that texts seem to be in, and are unlike all that are expected, most frequent first.

    Args:
        guesses: number of texts by the language that py3langid takes them for.
        expected: codes; where it knows none of them there are no strangers.
    """
    known = [language for language in expected if is_known(language)]
    others = [item for item in guesses.items() if known and not any(alike(item[0], language) for language in known)]
    return sorted(others, key=lambda item: (-item[1], item[0]))


def is_known(language: str) -> bool:
    """Whether py3langid can tell this language."""
    return any(same_language(language, known) for known in _known())


@cache
def _known() -> list[str]:
    return [language for language, _ in py3langid.rank("")]
