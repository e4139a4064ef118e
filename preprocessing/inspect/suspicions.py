"""Warnings about figures that are unusual for ordinary text and options."""

from collections.abc import Iterator
from itertools import islice
from math import sqrt

from preprocessing.inspect.figures import SamplesFigures, SplitFigures
from preprocessing.inspect.overview import DocumentsFigures, Overview, TokenizerFigures
from preprocessing.inspect.texts import Measure, TextFigures
from preprocessing.schema import TRAIN
from preprocessing.tokenizer.given import MAX_UNREACHABLE
from preprocessing.tokenizer.review import MAX_REMOVED

MAX_UNKNOWN = 0.01
"""Share of unknown tokens: 0.05 % for BERT's vocabulary on English Wikipedia."""
MAX_REPEATED = 0.05
"""Share of the samples that equal an earlier one."""
MAX_IN_BOTH = 0.05
"""Share of the held-out samples that equal a training sample."""
MAX_OF_ONE_TOKEN = 0.1
"""Share of the most frequent token: about 5 % in English prose, where it is a comma or "the"."""
MIN_VOCABULARY = 0.25
"""Smallest share of the vocabulary that should occur."""
TOKENS_PER_ENTRY = 100
"""Tokens of text per token of the vocabulary above which MIN_VOCABULARY is checked."""
MAX_LEFT_OUT = 0.5
"""Share of the documents that filters left out."""
MAX_FILES_LOST = 0.1
"""Share of a source's bytes in files that were left out although they may contain text."""
MAX_MARKUP = 0.03
"""Share of markup characters. Measured: 2.3 % in Wikipedia as plain text with tables, 0.02 % in its dumps, 0.01 % in
books; 3.7 % in Markdown with tables, 12 % in an HTML page."""
MAX_TAGS = 0.02
"""Share of the lines with HTML tags or entities: 0.01 % in those corpora, 88 % in an HTML page."""
MAX_RULES = 0.002
"""Share of the lines with the rule of a Markdown table: none in those corpora, 2 to 11 % in Markdown with tables."""
MAX_LETTERLESS = 0.35
"""Share of the lines without letters: 22 % in Wikipedia as plain text with tables and references."""
MAX_SHORT = 0.5
"""Share of the very short lines: 24 % in Wikipedia as plain text, 4 to 7 % in books and extracted dumps."""
MAX_FOREIGN = 0.2
"""Share of the documents classified as another language: 7 % in Wikipedia as plain text, mostly tables."""
_FEWEST_LINES = 20
"""Fewest lines for which shares of lines are checked."""
DEVIATIONS = 4
"""Standard deviations by which the share of a label may differ; it differs by more once in 16,000 times."""


def suspicions(overview: Overview) -> list[str]:
    """Warnings with the place, the figure and a likely reason; empty if nothing is unusual."""
    found = [f"{path.name}: not finished; run the command that began it again" for path in overview.unfinished]
    if overview.documents:
        found += _of_documents(overview.documents)
    if overview.tokenizer:
        found += _of_tokenizer(overview.tokenizer)
    for samples in overview.samples:
        found += _of_samples(samples)
    return found


def _of_documents(figures: DocumentsFigures) -> Iterator[str]:
    left_out = sum(figures.tally.left_out.values())
    seen = left_out + figures.train + figures.heldout
    if left_out > MAX_LEFT_OUT * seen:
        reason = max(figures.tally.left_out, key=figures.tally.left_out.__getitem__)
        yield (
            f"documents: {left_out:,} of {seen:,} are left out ({left_out / seen:.0%}), most of them as '{reason}': "
            "check the options of the filters"
        )
    for place, files in figures.tally.file_counts.items():
        if files.lost_share > MAX_FILES_LOST:
            yield (
                f"documents, {place}: {files.lost_share:.0%} of the bytes are in files that were not read: "
                f"{files.summary()}; check the kind of source"
            )
    for source in figures.sources:
        if not source.documents:
            yield f"documents: none comes from {source.name}: check the source"
        elif source.text:
            yield from (f"documents, {source.name}: {text}" for text in _of_text(source.text))


def _of_text(text: TextFigures) -> Iterator[str]:
    if text.foreign > MAX_FOREIGN * text.judged:
        language, count = text.unexpected_languages[0]
        yield (
            f"{count:,} of {text.judged:,} documents are classified as language {language}, but sentences and wikitext "
            f"were read as {text.language}: check --language"
        )
    if text.html.count:
        yield (
            f"{text.html.count:,} of {text.documents:,} documents seem to be HTML, such as the one with the line "
            f"{text.html.example!r}: check for error pages, or remove the tags"
        )
    elif text.tags.count > MAX_TAGS * text.lines >= MAX_TAGS * _FEWEST_LINES:
        yield f"{_share(text.tags, text.lines)} of the lines have HTML tags or entities, {_such(text.tags)}"
    if text.lines < _FEWEST_LINES:
        return
    if text.rules.count > MAX_RULES * text.lines:
        yield (
            f"{_share(text.rules, text.lines)} of the lines have rules of Markdown tables, {_such(text.rules)}: tables "
            "are no sentences"
        )
    elif text.markup.count > MAX_MARKUP * text.characters:
        yield (
            f"{_share(text.markup, text.characters)} of the characters are markup, more than {MAX_MARKUP:.0%}, "
            f"{_such(text.markup)}: check for source code, or use a kind of source that removes markup"
        )
    if text.letterless.count > MAX_LETTERLESS * text.lines:
        yield f"{_share(text.letterless, text.lines)} of the lines have no letter, {_such(text.letterless)}"
    if text.short.count > MAX_SHORT * text.lines:
        yield (
            f"{_share(text.short, text.lines)} of the lines are very short, {_such(text.short)}: check for lists "
            "and titles"
        )
    if text.removed and text.removed.share > MAX_REMOVED:
        yield (
            f"the normalizer removes {text.removed.share:.1%} of the characters, or their accents and marks "
            f"({text.removed.text}): {text.removed.remedy}"
        )


def _share(measure: Measure, whole: int) -> str:
    return f"{measure.count / max(1, whole):.1%}"


def _such(measure: Measure) -> str:
    return f"such as {measure.example!r}"


def _of_tokenizer(figures: TokenizerFigures) -> Iterator[str]:
    lost = figures.unreachable
    if lost.share > MAX_UNREACHABLE:
        yield (
            f"tokenizer: {len(lost.changed):,} of {lost.tokens:,} tokens never occur, as the normalizer changes them, "
            f"such as {', '.join(map(repr, lost.changed[:3]))}: check --lower_case and --strip_accents"
        )


def _of_samples(figures: SamplesFigures) -> Iterator[str]:
    name = figures.directory.name
    for split in figures.splits:
        if not split.counts.samples:
            yield f"{name}, {split.name}: no samples, so there is nothing to {_PURPOSE[split.name]}"
    for check in (_unknown, _special, _repeated, _one_token, _vocabulary, _labels, _sources):
        # Both splits are random parts of the text, so a warning usually holds for both; it is given once.
        found = ((split, text) for split in figures.filled for text in check(split, figures))
        yield from (f"{name}, {split.name}: {text}" for split, text in islice(found, 1))
    if figures.heldout_in_train > MAX_IN_BOTH:
        yield (
            f"{name}: {figures.heldout_in_train:.1%} of the held-out samples are also in train, so that held-out "
            "losses are too low: check the input for repetitions"
        )


_PURPOSE = {"train": "train on", "heldout": "evaluate on (--heldout_share)"}


def _unknown(split: SplitFigures, figures: SamplesFigures) -> Iterator[str]:
    if split.unknown_share > MAX_UNKNOWN:
        yield (
            f"{split.unknown_share:.1%} of the tokens are unknown, more than {MAX_UNKNOWN:.0%}: "
            "check that the vocabulary is for this language and case"
        )


def _special(split: SplitFigures, figures: SamplesFigures) -> Iterator[str]:
    if split.special:
        yield (
            f"{split.special:,} tokens are special ones such as [MASK], which text does not contain: build the samples "
            "again"
        )


def _repeated(split: SplitFigures, figures: SamplesFigures) -> Iterator[str]:
    passes = [figures.build.get("duplicates", 1), *figures.build.get("weights", [])]
    if split.repeated_share > MAX_REPEATED and max(passes) <= 1:
        yield (
            f"{split.repeated_share:.1%} of the samples repeat an earlier one, more than {MAX_REPEATED:.0%}: "
            "check the most repeated ones for tables and boilerplate"
        )


def _one_token(split: SplitFigures, figures: SamplesFigures) -> Iterator[str]:
    token, count = split.frequent[0]
    if count > MAX_OF_ONE_TOKEN * split.tokens:
        yield (
            f"the token {token!r} makes {count / split.tokens:.0%} of the text, more than {MAX_OF_ONE_TOKEN:.0%}: "
            "check for table rules and remaining markup"
        )


def _vocabulary(split: SplitFigures, figures: SamplesFigures) -> Iterator[str]:
    is_large = split.tokens > TOKENS_PER_ENTRY * figures.manifest.vocab_size
    if is_large and split.vocabulary_share < MIN_VOCABULARY:
        yield (
            f"only {split.vocabulary_share:.0%} of the vocabulary occurs: check that it is for this language; "
            "embeddings of tokens that never occur are not trained"
        )


def _labels(split: SplitFigures, figures: SamplesFigures) -> Iterator[str]:
    if not figures.kind.labels:
        return
    share, slack = split.label_shares[1], DEVIATIONS * 0.5 / sqrt(split.counts.samples)
    if not 0.5 - slack <= share <= figures.kind.most_of_label_1 + slack:
        yield (
            f"'{figures.kind.labels[1]}' holds for {share:.1%} of the samples, usual are "
            f"{usual_labels(figures)}: check for documents of one sentence, and for a max_seq_length of "
            "about one sentence"
        )


def _sources(split: SplitFigures, figures: SamplesFigures) -> Iterator[str]:
    if split.name != TRAIN:  # A small held-out split need not have documents of all sources.
        return
    if silent := [source for source, tokens in split.listed.tokens_by_source.items() if not tokens]:
        yield f"no token comes from {', '.join(silent)}: check whether it is empty or has weight 0"


def usual_labels(figures: SamplesFigures) -> str:
    """The usual share of label 1, as text."""
    most = figures.kind.most_of_label_1
    return "50%" if most == 0.5 else f"50 to {most:.0%}"
