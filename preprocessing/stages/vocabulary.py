"""Second stage: the tokenizer, from a published vocabulary or trained on the documents."""

from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
from tokenizers import Tokenizer

from preprocessing.errors import DataError
from preprocessing.files import sha256_file, write_json
from preprocessing.progress import LOG
from preprocessing.schema import MANIFEST_NAME, TRAIN
from preprocessing.stages.corpus import Corpus
from preprocessing.stages.directory import complete_stage, open_stage
from preprocessing.tokenizer.registry import KINDS, Kind, kind_of
from preprocessing.tokenizer.saving import identity, read_tokenizer, save_tokenizer


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
    lower_case: bool | None = None
    """Whether text is lower-cased and loses its accents; by default as the published one: not for bytelevel_bpe, which
    cannot. A directory with a tokenizer.json says it itself."""
    train_mb: float = 128
    """Text in MB that a vocabulary is trained on: whole partitions, each a random sample, until they hold so much."""

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise ValueError(f"kind = {self.kind!r}: must be one of {', '.join(KINDS)}")
        if self.size < self.wanted.smallest:
            raise ValueError(
                f"vocab_size = {self.size}: must be at least {self.wanted.smallest}: characters alone need that many"
            )
        if self.lower_case and self.kind == "bytelevel_bpe":
            raise ValueError("lower_case is True, but bytelevel_bpe works on bytes, which have no case: leave it out")
        if self.train_mb <= 0:
            raise ValueError(f"train_mb = {self.train_mb}: must be above 0")

    @property
    def wanted(self) -> Kind:
        """What is trained."""
        return KINDS[self.kind or "wordpiece"]

    @property
    def size(self) -> int:
        """`vocab_size`, or the kind's own."""
        return self.wanted.vocab_size if self.vocab_size is None else self.vocab_size


def prepare_tokenizer(directory: Path, config: TokenizerConfig, documents: Path) -> None:
    """Writes the tokenizer into `directory`.

    Args:
        directory: to write to.
        config: which one.
        documents: directory of the extract stage; read only to train a vocabulary.

    Raises:
        DataError: the given vocabulary is not one, or not of the kind or case that is asked for.
    """
    if config.vocab is None:
        corpus = Corpus.open(documents)
        lower_case = config.wanted.lower_case if config.lower_case is None else config.lower_case
        chosen = {"kind": config.kind or "wordpiece", "vocab_size": config.size, "lower_case": lower_case}
        if not open_stage(directory, "tokenizer", asdict(config) | chosen, {"documents_sha256": corpus.sha256}):
            _publish(directory, _train(corpus, config, lower_case))
    else:
        tokenizer = read_tokenizer(config.vocab, config.lower_case)
        if config.kind and kind_of(tokenizer) is not config.wanted:
            found = next(name for name, kind in KINDS.items() if kind is kind_of(tokenizer))
            raise DataError(f"{config.vocab}: is of kind {found}, but kind is {config.kind}; leave the option out")
        options = {"vocab": str(config.vocab), "lower_case": config.lower_case}
        if not open_stage(directory, "tokenizer", options, {"vocab_sha256": identity(config.vocab)}):
            _publish(directory, tokenizer)


def _train(corpus: Corpus, config: TokenizerConfig, lower_case: bool) -> Tokenizer:
    batches = _sample(corpus, config.train_mb * 1e6)
    LOG.info(f"tokenizer: training {config.size:,} pieces on {sum(batch.nbytes for batch in batches) / 1e6:,.0f} MB")
    return config.wanted.train(batches, config.size, lower_case)


def _sample(corpus: Corpus, num_bytes: float) -> list[pa.StringArray]:
    batches: list[pa.StringArray] = []
    for partition in corpus.partitioning.partitions(TRAIN):
        if sum(batch.nbytes for batch in batches) >= num_bytes:
            break
        batches.append(corpus.read(partition).flatten())
    return batches


def _publish(directory: Path, tokenizer: Tokenizer) -> None:
    save_tokenizer(tokenizer, directory)
    checksum = sha256_file(directory / "tokenizer.json")
    manifest = {"vocab_size": tokenizer.get_vocab_size(), "tokenizer_sha256": checksum}
    complete_stage(directory, lambda: write_json(directory / MANIFEST_NAME, manifest))
    LOG.info(f"{directory}: {tokenizer.get_vocab_size():,} tokens")
