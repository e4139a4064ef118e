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
from preprocessing.tokenizer import (
    SPECIAL_TOKENS,
    load_tokenizer,
    make_tokenizer,
    read_vocabulary,
    save_tokenizer,
    train_vocabulary,
)

_MAX_CHARACTERS = 1000
"""Most characters of a trained vocabulary: the trainer default of huggingface/tokenizers for BERT."""


@dataclass(frozen=True)
class TokenizerConfig:
    """Which WordPiece vocabulary."""

    vocab: Path | None = None
    """A vocab.txt, or a directory with a tokenizer.json, of a BERT model; without it a vocabulary is trained."""
    vocab_size: int = 30_522
    """Number of tokens of a trained vocabulary, special tokens included; a small corpus may give fewer."""
    lower_case: bool = True
    """Whether text is lower-cased and loses its accents."""
    train_mb: float = 128
    """Text in MB that a vocabulary is trained on: whole partitions, each a random sample, until they hold so much."""

    def __post_init__(self) -> None:
        if self.vocab_size < 100:
            raise ValueError(f"vocab_size is {self.vocab_size}, must be at least 100: characters alone need that many")
        if self.train_mb <= 0:
            raise ValueError(f"train_mb is {self.train_mb}, must be above 0")


def prepare_tokenizer(directory: Path, config: TokenizerConfig, documents: Path) -> None:
    """Writes the tokenizer into `directory`.

    Args:
        directory: to write to.
        config: which one.
        documents: directory of the extract stage; read only to train a vocabulary.

    Raises:
        DataError: the given vocabulary is not one, or does not fit `lower_case`.
    """
    if config.vocab is None:
        corpus = Corpus.open(documents)
        if not open_stage(directory, "tokenizer", asdict(config), {"documents_sha256": corpus.sha256}):
            _publish(directory, make_tokenizer(_train(corpus, config), config.lower_case))
    else:
        tokenizer, checksum = _read(config.vocab, config.lower_case)
        options = {"vocab": str(config.vocab), "lower_case": config.lower_case}
        if not open_stage(directory, "tokenizer", options, {"vocab_sha256": checksum}):
            _publish(directory, tokenizer)


def _read(path: Path, lower_case: bool) -> tuple[Tokenizer, str]:
    """The tokenizer at `path`, and a checksum of the file."""
    if path.is_file():
        return make_tokenizer(read_vocabulary(path), lower_case), sha256_file(path)
    if not path.is_dir():
        raise DataError(f"{path}: no such file or directory; --vocab takes a vocab.txt or a tokenizer directory")
    tokenizer = load_tokenizer(path)
    if tokenizer.normalizer.lowercase != lower_case:
        raise DataError(
            f"{path}: lower-cases text: {tokenizer.normalizer.lowercase}, but lower_case is {lower_case}; "
            f"add --lower_case {str(not lower_case).lower()}"
        )
    return tokenizer, sha256_file(path / "tokenizer.json")


def _train(corpus: Corpus, config: TokenizerConfig) -> list[str]:
    batches = _sample(corpus, config.train_mb * 1e6)
    LOG.info(
        f"tokenizer: training {config.vocab_size:,} pieces on {sum(batch.nbytes for batch in batches) / 1e6:,.0f} MB"
    )
    # Each character takes up to two tokens: alone, and as a "##" piece.
    characters = min(_MAX_CHARACTERS, (config.vocab_size - len(SPECIAL_TOKENS)) // 2)
    return train_vocabulary(batches, config.vocab_size, characters, config.lower_case)


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
