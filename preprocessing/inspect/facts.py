"""Tables of the figures: a name, a formatted value for each split, and the normal range."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from preprocessing.inspect.figures import SamplesFigures, SplitFigures
from preprocessing.inspect.overview import DocumentsFigures, TokenizerFigures
from preprocessing.inspect.suspicions import (
    MAX_FOREIGN,
    MAX_IN_BOTH,
    MAX_LETTERLESS,
    MAX_MARKUP,
    MAX_OF_ONE_TOKEN,
    MAX_REPEATED,
    MAX_RULES,
    MAX_SHORT,
    MAX_TAGS,
    MAX_UNKNOWN,
    usual_labels,
)
from preprocessing.inspect.texts import TextFigures
from preprocessing.tokenizer.given import MAX_UNREACHABLE
from preprocessing.tokenizer.review import MAX_REMOVED

_MEGABYTE = 10**6


@dataclass(frozen=True)
class Fact:
    """A row of a table."""

    name: str
    """Name of the figure."""
    values: list[str]
    """Values of the columns: train and held out, or a single one."""
    normal: str = ""
    """Explanation and normal range."""


def facts_of_documents(figures: DocumentsFigures) -> list[Fact]:
    """Table of the input records and the documents."""
    tally = figures.tally
    total = figures.train + figures.heldout
    return [
        Fact("records read", [f"{tally.records:,}"], "good and bad records of all sources"),
        Fact("bad records", [f"{tally.num_bad:,}"], "unusable, or not entirely usable"),
        Fact("left out", [f"{sum(tally.left_out.values()):,}"], "duplicates and filtered documents"),
        Fact("documents", [f"{total:,}"], "documents that remain"),
        Fact("held out", [f"{figures.heldout:,}"], f"{share(figures.heldout, total)}, for evaluation"),
        Fact("sentences", [f"{tally.sentences:,}"], f"{ratio(tally.sentences, tally.documents)} per document"),
        Fact("characters", [f"{tally.characters:,}"], f"{ratio(tally.characters, tally.sentences)} per sentence"),
        Fact("files", [f"{figures.files:,}"], f"{figures.bytes / 1e6:,.1f} MB"),
    ]


@dataclass(frozen=True)
class FilesLeftOut:
    """Input files that were left out for one reason."""

    place: str
    """Source or archive."""
    reason: str
    """Reason for leaving them out."""
    count: str
    """Number of files, formatted."""
    size: str
    """Total size of the files, formatted."""
    names: str
    """Names of the first files."""


def files_left_out(figures: DocumentsFigures) -> list[FilesLeftOut]:
    """The input files that were not read, by place and reason."""
    return [
        FilesLeftOut(
            place,
            reason,
            f"{counts.left_out[reason]:,}",
            size_of_files(counts.left_out_bytes[reason]) if reason in counts.left_out_bytes else "",
            ", ".join(counts.first[reason]) + ", ..." * (counts.left_out[reason] > len(counts.first[reason])),
        )
        for place, counts in figures.tally.file_counts.items()
        for reason in sorted(counts.left_out)
    ]


def size_of_files(num_bytes: int) -> str:
    """Human-readable size in bytes or megabytes."""
    return f"{num_bytes:,} bytes" if num_bytes < _MEGABYTE else f"{num_bytes / _MEGABYTE:,.1f} MB"


TEXT_COLUMNS = ["looked at", "markup", "tags", "table rules", "no letters", "very short", "language", "removed"]
"""Names of the columns of `facts_of_texts`."""
_NORMAL_TEXT = [
    "",
    f"< {MAX_MARKUP:.0%}",
    f"< {MAX_TAGS:.0%}",
    f"< {MAX_RULES:.1%}",
    f"< {MAX_LETTERLESS:.0%}",
    f"< {MAX_SHORT:.0%}",
    f"> {1 - MAX_FOREIGN:.0%}",
    f"< {MAX_REMOVED:.0%}",
]


def facts_of_texts(figures: DocumentsFigures) -> list[Fact]:
    """Table of measurements of each source's text; the last row has the normal ranges."""
    texts = {source.name: source.text for source in figures.sources if source.text and source.text.documents}
    facts = [Fact(name, _text_values(text)) for name, text in texts.items()]
    return [*facts, Fact("normal", _NORMAL_TEXT)] if facts else []


def _text_values(text: TextFigures) -> list[str]:
    lines = [text.tags, text.rules, text.letterless, text.short]
    language = f"{text.language} {share(text.judged - text.foreign, text.judged)}" if text.judged else ""
    return [
        f"{text.documents:,} documents",
        share(text.markup.count, text.characters),
        *(share(measure.count, text.lines) for measure in lines),
        language,
        f"{text.removed.share:.2%}" if text.removed else "",
    ]


def facts_of_tokenizer(figures: TokenizerFigures) -> list[Fact]:
    """Table of the tokenizer: its size, its normalizer, and tokens that never occur."""
    settings, lost = figures.settings, figures.unreachable
    shown = ", ".join(map(repr, lost.changed[:3]))
    return [
        Fact("tokens", [f"{figures.vocab_size:,}"], "special ones included"),
        Fact("lower-cases text", ["yes" if settings.lower_case else "no"]),
        Fact("strips accents and marks", ["yes" if settings.strip_accents else "no"]),
        Fact(
            "unreachable tokens",
            [f"{len(lost.changed):,}"],
            "tokens that the normalizer changes"
            + f", such as {shown}" * bool(shown)
            + f"; normal: below {MAX_UNREACHABLE:.0%}",
        ),
        Fact(
            "split tokens",
            [f"{len(lost.cut):,}"],
            "tokens that the pre-tokenizer splits, such as punctuation inside a word; published vocabularies have some",
        ),
    ]


def facts_of_samples(figures: SamplesFigures) -> list[Fact]:
    """Table of the samples: sizes, lengths, labels, tokens and repetitions."""
    return [*_sizes(figures), *_shapes(figures), *_labels(figures), *_contents(figures), *_repetitions(figures)]


def facts_of_sources(figures: SamplesFigures) -> list[Fact]:
    """Table of the text tokens of the samples that begin in a document of each source."""
    listed = [split.listed for split in figures.splits]
    names = dict.fromkeys(name for split in listed for name in split.tokens_by_source)
    counts = {name: [split.tokens_by_source.get(name, 0) for split in listed] for name in names}
    return [
        Fact(name, [f"{n:,}  {share(n, split.tokens):>6}" for n, split in zip(counts[name], listed, strict=True)])
        for name in names
    ]


def _sizes(figures: SamplesFigures) -> Iterator[Fact]:
    listed = [split.listed for split in figures.splits]
    yield Fact("samples", [f"{split.rows:,}" for split in listed])
    yield Fact("text tokens", [f"{split.tokens:,}" for split in listed], "special tokens are added in training")
    yield Fact("shards", [f"{len(split.shards):,}" for split in listed])
    yield Fact("size", [f"{split.bytes / 1e6:,.1f} MB" for split in figures.splits])
    yield Fact(
        "bytes per text token",
        [ratio(split.bytes, split.listed.tokens, 2) for split in figures.splits],
        "2 for the token up to 65,536 ids, 4 above; the rest is boundary, label and document",
    )
    yield Fact(
        "samples read",
        [f"{split.counts.samples:,}" for split in figures.splits],
        f"for the figures below: {_read(figures)}",
    )


def _read(figures: SamplesFigures) -> str:
    """Description of the shards that were read."""
    parts = [
        f"{split.shards_read:,} of {len(split.listed.shards):,} shards of {split.name}, evenly spread"
        for split in figures.splits
        if split.shards_read < len(split.listed.shards)
    ]
    return " and ".join(parts) or "all"


def _shapes(figures: SamplesFigures) -> Iterator[Fact]:
    longest = figures.manifest.max_seq_length
    yield _fact(figures, "documents", lambda split: f"{split.counts.documents:,}", "in which samples begin")
    yield _fact(
        figures, "samples per document", lambda split: ratio(split.counts.samples, split.counts.documents), "on average"
    )
    yield _fact(
        figures,
        "text tokens per sample",
        lambda split: f"{split.mean_length:,.1f}",
        f"on average; with special tokens {longest:,} at most",
    )
    yield _fact(
        figures,
        "padding, if padded",
        lambda split: f"{split.padding:.1%}",
        f"if all samples were padded to {longest:,} tokens; training here computes no padding",
    )
    yield _fact(figures, "single segments", lambda split: f"{split.single_share:.1%}", "samples without a B")


def _labels(figures: SamplesFigures) -> Iterator[Fact]:
    for label, name in enumerate(figures.kind.labels):
        normal = f"expected: {usual_labels(figures)} of the samples" if label else "the rest of the samples"
        yield Fact(name, [f"{shares[label]:.1%}" if len(shares) else "" for shares in _label_shares(figures)], normal)


def _label_shares(figures: SamplesFigures) -> list[np.ndarray]:
    """The shares of the labels in each split; empty for an empty split."""
    return [split.label_shares if split.counts.samples else np.zeros(0) for split in figures.splits]


def _contents(figures: SamplesFigures) -> Iterator[Fact]:
    yield _fact(
        figures,
        "unknown tokens",
        lambda split: f"{split.unknown_share:.3%}",
        f"normal: below 0.5%; above {MAX_UNKNOWN:.0%} the vocabulary is probably not the right one",
    )
    yield _fact(
        figures,
        "most frequent token",
        lambda split: f"{split.frequent[0][1] / split.tokens:.1%}",
        f"normal: about 5%, a comma or an article; above {MAX_OF_ONE_TOKEN:.0%} indicates tables or markup",
    )
    yield _fact(
        figures,
        "vocabulary that occurs",
        lambda split: f"{split.vocabulary_share:.1%}",
        "share that grows with the text; some tokens never occur",
    )
    yield _fact(
        figures,
        "cross entropy",
        lambda split: f"{figures.cross_entropy(split):.2f}",
        "nats, under the frequencies of tokens in train: the loss of a model that knows nothing else",
    )


def _repetitions(figures: SamplesFigures) -> Iterator[Fact]:
    is_all = all(split.compared == split.counts.samples for split in figures.splits)
    yield Fact(
        "samples compared",
        [f"{split.compared:,}" for split in figures.splits],
        "with each other: all" if is_all else "with each other, selected by hash so that equal ones are compared",
    )
    yield _fact(
        figures,
        "repeated samples",
        lambda split: f"{split.repeated_share:.2%}",
        f"equal an earlier one; normal: below {MAX_REPEATED:.0%}, more with several passes over the documents",
    )
    yield Fact(
        "held out and in train",
        ["", f"{figures.heldout_in_train:.2%}"],
        f"of the held-out samples compared; normal: below {MAX_IN_BOTH:.0%}, short ones",
    )


def _fact(figures: SamplesFigures, name: str, value: Callable[[SplitFigures], str], normal: str) -> Fact:
    """A row whose values are empty for empty splits."""
    return Fact(name, [value(split) if split.counts.samples else "" for split in figures.splits], normal)


def share(part: float, whole: float) -> str:
    """`part` as a percentage of `whole`; empty if `whole` is 0."""
    return f"{part / whole:.1%}" if whole else ""


def ratio(number: float, per: float, digits: int = 1) -> str:
    """`number` divided by `per`; empty if `per` is 0."""
    return f"{number / per:,.{digits}f}" if per else ""


@dataclass(frozen=True)
class Bin:
    """A bin of a histogram."""

    first: int
    """Smallest value in the bin."""
    last: int
    """Largest value in the bin."""
    share: float
    """Share of the values in the bin."""


def length_bins(counts: np.ndarray, longest: int, num_bins: int) -> list[Bin]:
    """The histogram of lengths 1 .. `longest`, in at most `num_bins` bins of nearly equal width.

    Args:
        counts: (L,) number of values of length 0, 1, ...; not all 0.
        longest: largest length.
        num_bins: largest number of bins.
    """
    edges = np.unique(np.linspace(0, longest, num_bins + 1).astype(int)).tolist()
    total = counts.sum()
    return [Bin(a + 1, b, float(counts[a + 1 : b + 1].sum() / total)) for a, b in pairwise(edges)]
