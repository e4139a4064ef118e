"""An overview as text for a terminal."""

import textwrap
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from preprocessing.inspect.decoding import Example
from preprocessing.inspect.facts import (
    TEXT_COLUMNS,
    Fact,
    facts_of_documents,
    facts_of_samples,
    facts_of_sources,
    facts_of_texts,
    facts_of_tokenizer,
    files_left_out,
    length_bins,
    share,
)
from preprocessing.inspect.figures import SamplesFigures, SplitFigures
from preprocessing.inspect.overview import DocumentsFigures, Overview, TokenizerFigures
from preprocessing.inspect.suspicions import suspicions

_WIDTH = 110
_BINS = 8
_NAME_WIDTH = 32
_BAR_WIDTH = 30
_FREQUENT_SHOWN = 10
_REPEATED_CHARS = 70


def render(overview: Overview) -> str:
    """The overview as text without control and other unprintable characters."""
    lines = [f"{overview.directory}", *_suspicions(overview)]
    if overview.documents:
        lines += ["", *_heading(f"{overview.documents.directory}: documents"), *_documents(overview.documents)]
    if overview.tokenizer:
        lines += ["", *_tokenizer(overview.tokenizer)]
    for samples in overview.samples:
        lines += ["", *_samples(samples)]
    for name, options in overview.configurations.items():
        lines += ["", *_heading(f"options of {name}"), *_options(options)]
    return "\n".join(map(printable, lines))


def printable(text: str) -> str:
    """The text with U+FFFD in place of control characters and of bytes in file names that are not UTF-8."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _wrap(text: str, start: str) -> list[str]:
    """Wraps text to lines of bounded width, indented to the width of `start`."""
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start)) or [start]


def _heading(text: str) -> list[str]:
    return [text, "-" * min(len(text), _WIDTH)]


def _suspicions(overview: Overview) -> list[str]:
    found = suspicions(overview)
    if not found:
        return ["no warnings"]
    return ["warnings:", *(line for text in found for line in _wrap(text, "  ! "))]


def _documents(figures: DocumentsFigures) -> Iterator[str]:
    yield from _table(facts_of_documents(figures), [])
    facts = [replace(fact, name=_shortened(fact.name)) for fact in facts_of_texts(figures)]
    if facts:
        yield "  text of each source, by a sample: shares of characters (markup), of lines, and of documents (language)"
        yield from _table(facts, TEXT_COLUMNS)
    stored = sum(source.documents for source in figures.sources)
    for source in figures.sources:
        yield f"  from {source.name}: {source.documents:,} documents, {share(source.documents, stored)}"
    for reason, count in sorted(figures.tally.left_out.items()):
        yield f"  left out, {reason}: {count:,}"
    place = ""
    for files in files_left_out(figures):
        if files.place != place:
            place = files.place
            yield f"  input files that were not read, {place}"
        size = f", {files.size}" * bool(files.size)
        yield from _wrap(
            f"{files.reason}: {files.count} file{'s' * (files.count != '1')}{size} ({files.names})", "    "
        )
    for kind, count in sorted(figures.tally.bad.items()):
        yield f"  bad, {kind}: {count:,}, first at"
        yield from (f"    {place}: {detail}" for place, detail in figures.tally.first[kind])


def _tokenizer(figures: TokenizerFigures) -> Iterator[str]:
    yield from _heading(f"{figures.directory}: {figures.vocab_size:,} tokens")
    yield from _table(facts_of_tokenizer(figures), [])
    for note in figures.notes:
        yield from _wrap(note, "  - ")


def _shortened(name: str) -> str:
    """The name, or the end of a long name."""
    return name if len(name) <= _NAME_WIDTH else "..." + name[3 - _NAME_WIDTH :]


def _samples(figures: SamplesFigures) -> Iterator[str]:
    manifest = figures.manifest
    yield from _heading(
        f"{figures.directory}: {manifest.segments}, at most {manifest.max_seq_length:,} tokens, "
        f"vocabulary of {manifest.vocab_size:,}"
    )
    yield from _table(facts_of_samples(figures), [split.name for split in figures.splits])
    yield from _sources(figures)
    yield from _lengths(figures)
    for split in figures.filled:
        yield from _split(split)


def _table(facts: list[Fact], columns: list[str]) -> Iterator[str]:
    """Formats a table: left-aligned names, right-aligned values, notes."""
    name_width = max(len(fact.name) for fact in facts)
    widths = [max(map(len, column)) for column in zip(*(fact.values for fact in facts), strict=True)]
    widths = [max(pair) for pair in zip_longest(widths, map(len, columns), fillvalue=0)]
    for fact in [*([Fact("", columns)] if columns else []), *facts]:
        values = "  ".join(f"{value:>{width}}" for value, width in zip(fact.values, widths, strict=True))
        yield f"  {fact.name:<{name_width}}  {values}  {fact.normal}".rstrip()


def _sources(figures: SamplesFigures) -> Iterator[str]:
    facts = facts_of_sources(figures)
    if facts:
        yield "  text tokens per source"
        yield from _table(facts, [split.name for split in figures.splits])


def _lengths(figures: SamplesFigures) -> Iterator[str]:
    longest = figures.manifest.max_seq_length - figures.kind.num_special_tokens
    for split in figures.filled:
        bins = length_bins(split.counts.lengths, longest, _BINS)
        highest = max(bin_.share for bin_ in bins)
        yield f"  {split.name}, text tokens per sample"
        for bin_ in bins:
            bar = "#" * round(_BAR_WIDTH * bin_.share / highest)
            yield f"    {bin_.first:6,} to {bin_.last:6,}  {bin_.share:6.1%} {bar}".rstrip()


def _split(split: SplitFigures) -> Iterator[str]:
    top = "   ".join(f"{token} {count / split.tokens:.1%}" for token, count in split.frequent[:_FREQUENT_SHOWN])
    yield f"  {split.name}, most frequent tokens: {top}"
    if split.repeated:
        yield f"  {split.name}, most repeated samples"
    for repeated in split.repeated:
        yield f"    {repeated.count:8,} x {_one_line(repeated.example)}"
    if split.examples:
        yield f"  {split.name}, some samples"
    for example in split.examples:
        label = f", {example.label}" * bool(example.label)
        yield f"    sample {example.index:,}, document {example.document:,}{label}"
        yield from _wrap(example.a.text, "      A: ")
        yield from _wrap(example.b.text, "      B: ") if example.b else []


def _one_line(example: Example) -> str:
    """The text of a sample on one line of bounded length."""
    text = example.a.text + (f" | {example.b.text}" if example.b else "")
    return text if len(text) <= _REPEATED_CHARS else text[:_REPEATED_CHARS] + " ..."


def _options(options: dict[str, Any]) -> Iterator[str]:
    """Formats options, one per line, and each element of a list on a line of its own."""
    width = max(map(len, options), default=0)
    for name, value in options.items():
        values = value if isinstance(value, list) and value else [value]
        for number, element in enumerate(values):
            yield f"  {'' if number else name:<{width}}  {element}"
