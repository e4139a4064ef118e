"""The options of all stages and of `inspect`: dataclasses whose fields the command line shows, with their rules.

Nothing is imported here that works on text (Arrow, tokenizers, numpy), so that a command line is read, and its help
shown, without them. Each stage takes its own; `WorkersConfig` is in `workers.py`, those of downloads in their package.
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
    "Text files of evaluation data (GLUE's .tsv, SQuAD's .json, ...): a document that has ngram_words consecutive "
    "words in common with a line of one is left out."
)
WEIGHTS_HELP = (
    "How often a pass over the training documents takes those of each source, one number per source in the order of "
    "--sources: 2 twice, 0.5 a random half of them, and in the next of several passes (--duplicates) the other half; "
    "each once by default. Held-out documents are always taken once."
)
_SMALLEST_MB, _LARGEST_MB = 0.0001, 1000
_SHORTEST = 5
"""Smallest max_seq_length: a token each for A and B with three special tokens."""


@dataclass(frozen=True)
class ExtractConfig:
    """What to read and how to cut it up."""

    sources: list[str]
    """The input, in the form of SOURCES_HELP in sources/help.py."""
    text_key: str = "text"
    """Key of a JSON Lines record, or column of a Parquet or Arrow file, that holds the text; a.b is key b inside the
    object or struct a. The strings of a list are paragraphs."""
    language: str = ""
    """Language of the text, for sentence splitting: a code such as en or de. Empty: that which a Wikipedia dump says
    it is in, and en for other sources."""
    max_sentence_chars: int = 10_000
    """Longest sentence in characters; longer ones (tables, lost line ends) are dropped and reported."""
    heldout_share: float = 0.01
    """Share of the documents, by a hash of their text, that is kept out of training for evaluation."""
    max_bad_share: float = 0.01
    """Share of unusable input records above which the job fails; above 0 it allows one of 20 records or more."""
    max_left_out_share: float = 0.5
    """Share of the bytes of a directory or archive, in files that are not read, above which the job fails."""
    split_mb: float = 32
    """Input per task in MB; bounds a worker's memory."""
    partition_mb: float = 64
    """Text per partition in MB: random sentences are drawn within one, each becomes a shard, and building one takes
    some ten times its size in memory."""

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
    """Which documents are left out; counted in the report by reason."""

    unicode_form: Literal["", "NFC", "NFKC"] = ""
    """Unicode normalisation of all text; empty: none. BERT's uncased tokenizer normalises for itself."""
    min_chars: int = 0
    """Shortest document kept, in characters."""
    max_chars: int = 0
    """Longest document kept, in characters; 0: any."""
    check_language: bool = False
    """Whether documents that py3langid finds to be in another language than theirs (see `language`) are left out."""
    decontaminate: list[Path] = field(default_factory=list)
    """Files of evaluation data, in the form of DECONTAMINATE_HELP."""
    ngram_words: int = 13
    """Words in a row that count as contamination; lower-cased, punctuation aside."""
    deduplicate: Literal["no", "exact", "near"] = "exact"
    """Of documents with equal text the first stays; `near`: also of those that share most of their word 5-grams."""
    near_threshold: float = 0.8
    """Estimated share of common 5-grams (Jaccard, by MinHash) from which documents are near-duplicates."""

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
    """Which vocabulary."""

    vocab: Path | None = None
    """A vocab.txt (BERT), a SentencePiece .model (ALBERT), or a directory with a tokenizer.json, or with RoBERTa's
    vocab.json and merges.txt; without it a vocabulary is trained."""
    kind: str | None = None
    """wordpiece (BERT), bytelevel_bpe (RoBERTa) or unigram (ALBERT); by default wordpiece, or what `vocab` is."""
    vocab_size: int | None = None
    """Number of tokens of a trained vocabulary, special tokens included; a small corpus may give fewer. By default that
    of the published one: 30,522, 50,265 and 30,000."""
    character_coverage: float | None = None
    """Share of the characters of the text that get tokens in a trained vocabulary; words with rarer ones are unknown.
    By default 0.9995 for wordpiece and 0.99995 for unigram; bytelevel_bpe has tokens for all."""
    lower_case: bool | None = None
    """Whether text is lower-cased; by default as the published one: not for bytelevel_bpe, which cannot. Of a given
    vocabulary its files say it, or its tokens."""
    strip_accents: bool | None = None
    """Whether text loses its accents and other combining marks. By default where text is lower-cased, as the published
    ones do, but not where marks are part of the spelling, as in Hindi, Japanese, Korean, Arabic or Russian: the
    text shows it, or the tokens of a given vocabulary."""
    train_mb: float = 128
    """Text in MB that a vocabulary is trained on, from the first partitions, which are random samples."""

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
                        f"{name} is {getattr(self, name)}, but bytelevel_bpe works on bytes, which have no case and no "
                        "accents and spell all characters: leave it out"
                    )
        if not 0 < self.train_mb < inf:
            raise ValueError(f"train_mb = {self.train_mb}: must be above 0 and finite")
        if self.character_coverage is not None and not 0 < self.character_coverage <= 1:
            raise ValueError(f"character_coverage = {self.character_coverage}: must be above 0 and at most 1: a share")
        for name in ("character_coverage", "train_mb"):
            if self.vocab is not None and getattr(self, name) != getattr(TokenizerConfig, name):
                raise ValueError(
                    f"{name} is {getattr(self, name)}, but vocab gives a vocabulary, so none is trained: leave one out"
                )

    @property
    def trained_kind(self) -> str:
        """What is trained."""
        return self.kind or "wordpiece"

    @property
    def wanted(self) -> Defaults:
        """The defaults of what is trained."""
        return DEFAULTS[self.trained_kind]

    @property
    def size(self) -> int:
        """`vocab_size`, or the kind's own."""
        return self.wanted.vocab_size if self.vocab_size is None else self.vocab_size

    @property
    def coverage(self) -> float | None:
        """`character_coverage`, or the kind's own."""
        return self.wanted.character_coverage if self.character_coverage is None else self.character_coverage


@dataclass(frozen=True)
class BuildConfig:
    """How samples are made of sentences."""

    max_seq_length: int = 128
    """Longest sample in tokens, special tokens included: [CLS], and [SEP] after each segment."""
    segments: str = "nsp"
    """nsp: pairs for next sentence prediction (BERT); sop: for sentence-order prediction (ALBERT); electra: one or two
    segments; full_sentences, doc_sentences: whole sentences until the next does not fit, across documents or not
    (RoBERTa); blocks: full length whatever sentences they cut, within a document (SpanBERT); chunks: the same across
    documents (DeBERTa). The samples directory's name ends in it unless it is nsp."""
    short_seq_prob: float | None = None
    """Share of the documents (electra: of the samples) whose samples get a random shorter target length. By default
    that of the source: 0.1 for nsp and sop, 0.05 for electra; the others have none."""
    duplicates: int = 1
    """Passes over the training documents, each with other random samples (dupe_factor of google-research/bert, where
    it also gave other masks; here masks are drawn in training); 1 for those without chance."""
    weights: list[float] = field(default_factory=list)
    """Mixing of the sources, in the form of WEIGHTS_HELP."""
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
                f"{self.segments} leaves nothing to chance: must be 0 and 1, leave both out"
            )

    @property
    def short_share(self) -> float:
        """`short_seq_prob`, or the strategy's own."""
        return (SHORT_SEQ_PROBS[self.segments] or 0.0) if self.short_seq_prob is None else self.short_seq_prob

    @property
    def directory_name(self) -> str:
        """Name of the samples directory, so that those of several lengths and strategies lie side by side."""
        return f"samples{self.max_seq_length}" + (f"-{self.segments}" if self.segments != "nsp" else "")


@dataclass(frozen=True)
class InspectConfig:
    """What is shown."""

    samples: int = 3
    """Decoded samples per split, evenly spread."""
    html: Path | None = None
    """File for the same as one HTML page with plots, which needs neither network nor scripts; none by default."""

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise ValueError(f"samples = {self.samples}: must be at least 0: the number of decoded samples per split")


def check_weights(weights: Sequence[float], sources: Sequence[str]) -> None:
    """Checks that there is a weight for each source, or none at all.

    Raises:
        DataError: there are more or fewer.
    """
    if weights and len(weights) != len(sources):
        raise DataError(
            f"--weights has {len(weights)} numbers and the documents come from {len(sources)} sources "
            f"({', '.join(sources)}); give one for each, in this order"
        )
