"""Options of the stages, `inspect` and `classification`: dataclasses whose fields are command-line options, with rules.

This module imports no library that processes text (Arrow, tokenizers, NumPy), so that the command line is parsed, and
help is shown, without loading them. `WorkersConfig` is in `workers.py`, the options of downloads in their package.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Literal

from preprocessing.errors import DataError, check_name
from preprocessing.languages import check_language
from preprocessing.segments.defaults import SHORT_SEQ_PROBS
from preprocessing.tokenizer.defaults import DEFAULTS, Defaults

DECONTAMINATE_HELP = (
    "Text files of evaluation data (GLUE's .tsv, SQuAD's .json, ...): documents that have ngram_words consecutive "
    "words in common with a line of these files are left out."
)
WEIGHTS_HELP = (
    "Number of times that a pass over the training documents takes those of each source, one number per source in the "
    "order of --sources. With 2 each document is taken twice; with 0.5 a random half of them, and the other half in "
    "the next pass (--duplicates). By default each is taken once. Held-out documents are always taken once."
)
_SMALLEST_MB, _LARGEST_MB = 0.0001, 1000
_SHORTEST = 5
"""Smallest max_seq_length: one token each for A and B, and three special tokens."""


@dataclass(frozen=True)
class ExtractConfig:
    """Options of the stage `extract`: the sources, and how they are split."""

    sources: list[str]
    """The sources, in the form of SOURCES_HELP in sources/help.py."""
    text_key: str = "text"
    """Key of a JSON object, or column of a Parquet or Arrow file, with the text; a.b is key b inside the object or
    struct a. The strings of a list are paragraphs."""
    language: str = ""
    """Language code of the text, such as en or de, for sentence splitting. Empty: the language that a Wikipedia dump
    states, and en for other sources."""
    max_sentence_chars: int = 10_000
    """Longest sentence in characters; longer ones (tables, text without line ends) are dropped and reported."""
    heldout_share: float = 0.01
    """Share of the documents, selected by a hash of their text, that are held out from training for evaluation."""
    max_bad_share: float = 0.01
    """Share of bad input records above which the job fails; if it is above 0, one bad record of 20 or more is
    allowed."""
    max_left_out_share: float = 0.5
    """Share of the bytes of a directory or archive in files that are not read, above which the job fails."""
    split_mb: float = 32
    """Size of the input of a task in MB; bounds the memory of a worker."""
    partition_mb: float = 64
    """Size of the text of a partition in MB. Each partition becomes a shard, random sentences are drawn from the same
    partition, and building one takes some ten times its size in memory."""

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources is empty: must name at least one, such as --sources jsonl:wiki.jsonl")
        if len(set(self.sources)) < len(self.sources):
            raise ValueError(f"sources = {self.sources}: must name each once; --weights takes one more often")
        if self.language:
            check_language(self.language)
        for name in ("heldout_share", "max_bad_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} = {getattr(self, name)}: must be at least 0 and below 1: it is a share, not percent"
                )
        if self.max_sentence_chars <= 0:
            raise ValueError(f"max_sentence_chars = {self.max_sentence_chars}: must be above 0")
        for name in ("split_mb", "partition_mb"):
            if not _SMALLEST_MB <= getattr(self, name) <= _LARGEST_MB:
                raise ValueError(
                    f"{name} = {getattr(self, name)}: must be at least {_SMALLEST_MB} and at most {_LARGEST_MB}"
                )
        if not 0 <= self.max_left_out_share <= 1:
            raise ValueError(
                f"max_left_out_share = {self.max_left_out_share}: must be 0 to 1: it is a share, not percent"
            )


@dataclass(frozen=True)
class FilterConfig:
    """Options of the filters; the report counts filtered documents by reason."""

    unicode_form: Literal["", "NFC", "NFKC"] = ""
    """Unicode normal form of all text; empty: no normalisation. BERT's uncased tokenizer normalises text itself."""
    min_chars: int = 0
    """Shortest document kept, in characters."""
    max_chars: int = 0
    """Longest document kept, in characters; 0: any."""
    check_language: bool = False
    """Whether documents are left out that py3langid classifies as another language than expected (see `language`)."""
    decontaminate: list[Path] = field(default_factory=list)
    """Files of evaluation data, in the form of DECONTAMINATE_HELP."""
    ngram_words: int = 13
    """Number of consecutive words that count as contamination, compared without case and punctuation."""
    deduplicate: Literal["no", "exact", "near"] = "exact"
    """`exact`: of documents with equal text only the first is kept; `near`: also of documents that share most of their
    word 5-grams."""
    near_threshold: float = 0.8
    """Estimated share of common 5-grams (Jaccard similarity by MinHash) from which documents are near-duplicates."""

    def __post_init__(self) -> None:
        for name, least in (("min_chars", 0), ("max_chars", 0), ("ngram_words", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least {least}")
        if 0 < self.max_chars < self.min_chars:
            raise ValueError(f"max_chars = {self.max_chars}: must be 0 (any) or at least min_chars = {self.min_chars}")
        if not 0.5 <= self.near_threshold <= 1:
            raise ValueError(f"near_threshold = {self.near_threshold}: must be 0.5 to 1: a share of common 5-grams")


@dataclass(frozen=True)
class TokenizerConfig:
    """Options of the stage `tokenizer`."""

    vocab: Path | None = None
    """A given vocabulary: a vocab.txt (BERT), a SentencePiece .model (ALBERT), or a directory with a tokenizer.json, or
    with RoBERTa's vocab.json and merges.txt. Without it a vocabulary is trained."""
    kind: str | None = None
    """Kind of tokenizer: wordpiece (BERT), bytelevel_bpe (RoBERTa) or unigram (ALBERT); by default that of `vocab`,
    otherwise wordpiece."""
    vocab_size: int | None = None
    """Number of tokens of a trained vocabulary, special tokens included; a small corpus may give fewer. By default that
    of the published vocabulary: 30,522 (wordpiece), 50,265 (bytelevel_bpe), 30,000 (unigram)."""
    character_coverage: float | None = None
    """Share of the characters of the text that get tokens in a trained vocabulary; words with rarer ones are unknown.
    By default 0.9995 for wordpiece and 0.99995 for unigram; bytelevel_bpe has tokens for all."""
    lower_case: bool | None = None
    """Whether text is lower-cased; by default true, except for bytelevel_bpe, which does not support it. For a given
    vocabulary its files decide, or its tokens."""
    strip_accents: bool | None = None
    """Whether accents and other combining marks are removed. By default if text is lower-cased, as in the published
    models, unless marks are part of the spelling, as in Hindi, Japanese, Korean, Arabic or Russian, which the text
    or the tokens of a given vocabulary show."""
    train_mb: float = 128
    """Size of the text for training a vocabulary in MB, taken from the first partitions, which are random samples."""

    def __post_init__(self) -> None:
        if self.kind is not None:
            check_name("kind", self.kind, DEFAULTS)
        if self.size < self.wanted.smallest:
            raise ValueError(
                f"vocab_size = {self.size}: must be at least {self.wanted.smallest}: characters alone need that many"
            )
        if self.kind == "bytelevel_bpe":
            for name in ("lower_case", "strip_accents", "character_coverage"):
                if getattr(self, name):
                    raise ValueError(
                        f"{name} = {getattr(self, name)}: has no effect with bytelevel_bpe, which works on bytes "
                        "without case and accents and encodes all characters; leave it out"
                    )
        if not 0 < self.train_mb < inf:
            raise ValueError(f"train_mb = {self.train_mb}: must be above 0 and finite")
        if self.character_coverage is not None and not 0 < self.character_coverage <= 1:
            raise ValueError(f"character_coverage = {self.character_coverage}: must be above 0 and at most 1: a share")
        for name in ("character_coverage", "train_mb"):
            if self.vocab is not None and getattr(self, name) != getattr(TokenizerConfig, name):
                raise ValueError(
                    f"{name} = {getattr(self, name)}: has no effect with vocab, as none is trained; leave one out"
                )

    @property
    def trained_kind(self) -> str:
        """Kind of the tokenizer to train."""
        return self.kind or "wordpiece"

    @property
    def wanted(self) -> Defaults:
        """The defaults of `trained_kind`."""
        return DEFAULTS[self.trained_kind]

    @property
    def size(self) -> int:
        """`vocab_size`, by default that of the kind."""
        return self.wanted.vocab_size if self.vocab_size is None else self.vocab_size

    @property
    def coverage(self) -> float | None:
        """`character_coverage`, by default that of the kind."""
        return self.wanted.character_coverage if self.character_coverage is None else self.character_coverage


@dataclass(frozen=True)
class BuildConfig:
    """Options of the stage `build`, which makes samples of sentences."""

    max_seq_length: int = 128
    """Longest sample in tokens, special tokens included: [CLS], and [SEP] after each segment."""
    segments: str = "nsp"
    """Strategy. nsp: pairs for next sentence prediction (BERT); sop: pairs for sentence-order prediction (ALBERT);
    electra: one or two segments (ELECTRA); full_sentences: whole sentences until the next one does not fit, across
    documents (RoBERTa); doc_sentences: the same within a document; blocks: text of full length within a document,
    regardless of sentences (SpanBERT); chunks: the same across documents (DeBERTa). Unless it is nsp, the name of the
    samples directory ends in it."""
    short_seq_prob: float | None = None
    """Share of the documents (electra: of the samples) with a random shorter target length. By default that of the
    released code: 0.1 for nsp and sop, 0.05 for electra; the other strategies have none."""
    duplicates: int = 1
    """Number of passes over the training documents, each with other random samples (dupe_factor of
    google-research/bert; masks are drawn in training). Must be 1 for strategies without random choices."""
    weights: list[float] = field(default_factory=list)
    """Weights of the sources, in the form of WEIGHTS_HELP."""
    seed: int = 12345
    """Seed of all random choices."""

    def __post_init__(self) -> None:
        check_name("segments", self.segments, SHORT_SEQ_PROBS)
        if not _SHORTEST <= self.max_seq_length < 2**16:
            raise ValueError(
                f"max_seq_length = {self.max_seq_length}: must be {_SHORTEST} (a token each for A and B) to 65535"
            )
        if not 0 <= self.short_share <= 1:
            raise ValueError(f"short_seq_prob = {self.short_seq_prob}: must be between 0 and 1")
        if self.duplicates < 1:
            raise ValueError(f"duplicates = {self.duplicates}: must be at least 1: the number of passes")
        if any(not 0 <= weight < float("inf") for weight in self.weights) or (self.weights and not any(self.weights)):
            raise ValueError(f"weights = {self.weights}: each must be at least 0 and finite, and one above 0")
        if SHORT_SEQ_PROBS[self.segments] is None and (self.short_share > 0 or self.duplicates > 1):
            raise ValueError(
                f"short_seq_prob = {self.short_share}, duplicates = {self.duplicates}: segments "
                f"{self.segments} makes no random choice: must be 0 and 1; leave both out"
            )

    @property
    def short_share(self) -> float:
        """`short_seq_prob`, by default that of the strategy."""
        return (SHORT_SEQ_PROBS[self.segments] or 0.0) if self.short_seq_prob is None else self.short_seq_prob

    @property
    def directory_name(self) -> str:
        """Name of the samples directory, which differs for each length and strategy."""
        return f"samples{self.max_seq_length}" + (f"-{self.segments}" if self.segments != "nsp" else "")


@dataclass(frozen=True)
class InspectConfig:
    """Options of `inspect`."""

    samples: int = 3
    """Number of decoded samples per split, evenly spread."""
    html: Path | None = None
    """File for the overview as an HTML page with plots, without scripts and external resources; by default none."""

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise ValueError(f"samples = {self.samples}: must be at least 0: the number of decoded samples per split")


@dataclass(frozen=True)
class ClassificationConfig:
    """Options of `classification`."""

    train: int = 400
    """Number of training paragraphs of each library."""
    dev: int = 100
    """Number of dev paragraphs of each library."""

    def __post_init__(self) -> None:
        for name in ("train", "dev"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least 1")


def check_weights(weights: Sequence[float], sources: Sequence[str]) -> None:
    """Checks that there is one weight per source, or none at all.

    Raises:
        DataError: the numbers of weights and sources differ.
    """
    if weights and len(weights) != len(sources):
        raise DataError(
            f"--weights has {len(weights)} numbers and the documents come from {len(sources)} sources "
            f"({', '.join(sources)}); give one for each, in this order"
        )
