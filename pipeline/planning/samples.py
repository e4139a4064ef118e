"""Properties of samples that a plan depends on, read from their manifest or assumed."""

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Recipe
from preprocessing.schema import MANIFEST_NAME, PAIR_SPECIAL_TOKENS, Manifest
from preprocessing.shards import read_manifest

BERT_VOCABULARY = 30_522
"""Tokens of the published vocabulary, and the default size of those that `python -m preprocessing` trains."""


@dataclass(frozen=True)
class Samples:
    """Properties of the samples that a plan depends on."""

    vocab_size: int
    """Number of token ids."""
    seq_length: int
    """Tokens of the longest sample, special tokens included."""
    mean_tokens: float
    """Mean number of tokens of a sample, special tokens included."""
    assumed: tuple[str, ...] = ()
    """Values that are assumed because there are no samples yet, with the options that set them."""
    earlier: tuple[tuple[int, float], ...] = ()
    """Tokens of the longest sample and mean number of tokens of each of `data.earlier_samples`."""


def read_samples(recipe: Recipe, seq_length: int | None, mean_tokens: float | None, vocab_size: int | None) -> Samples:
    """Read the properties of a recipe's samples.

    Arguments that are not None have precedence. If the samples do not exist yet, the other values are assumed.
    """
    directory, assumed = Path(recipe.data.samples), []
    if (directory / MANIFEST_NAME).is_file():
        manifest: Manifest = read_manifest(directory)
        train = manifest.splits["train"]
        vocab_size, seq_length = vocab_size or manifest.vocab_size, seq_length or manifest.max_seq_length
        if mean_tokens is None and train.rows:
            mean_tokens = train.tokens / train.rows + PAIR_SPECIAL_TOKENS
    if seq_length is None:
        seq_length, source = length_by_name(directory, recipe.model.max_position_embeddings)
        assumed.append(f"up to {seq_length} tokens a sample ({source}; --seq_length)")
    if vocab_size is None:
        vocab_size = BERT_VOCABULARY
        assumed.append(f"a vocabulary of {vocab_size:,} (BERT's; --vocab_size)")
    longest = recipe.model.max_position_embeddings
    earlier = tuple(earlier_lengths(one, longest) for one in recipe.data.earlier_samples)
    return Samples(vocab_size, seq_length, min(mean_tokens or seq_length, seq_length), tuple(assumed), earlier)


def earlier_lengths(directory: Path, longest: int) -> tuple[int, float]:
    """Return the longest and the mean length of samples; both are assumed if the directory does not exist yet."""
    if not (directory / MANIFEST_NAME).is_file():
        length, _ = length_by_name(directory, longest)
        return length, length
    manifest: Manifest = read_manifest(directory)
    train, length = manifest.splits["train"], manifest.max_seq_length
    return length, train.tokens / train.rows + PAIR_SPECIAL_TOKENS if train.rows else length


def length_by_name(samples: Path, longest: int) -> tuple[int, str]:
    """Return an assumed length for samples that do not exist yet, and its source: the directory's name or the model."""
    named = re.fullmatch(r"samples(\d+)(-\w+)?", samples.name)
    if named and int(named[1]) <= longest:
        return int(named[1]), "the name of data.samples"
    return longest, "model.max_position_embeddings"
