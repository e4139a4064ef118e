"""Samples of random tokens, so that `pipeline.pretrain` runs where there is neither text nor the preprocessing."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models

from preprocessing.files import sha256_file, write_text
from preprocessing.schema import HELDOUT, MANIFEST_NAME, TOKENIZER_DIRECTORY, TRAIN, Manifest, Split
from preprocessing.shards import sample_batch, write_shard

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAIRS = ("nsp", "sop", "electra")
"""Kinds of samples with two segments."""


def write_samples(
    directory: Path,
    rows: int,
    heldout: int,
    max_seq_length: int,
    vocab_size: int,
    segments: str = "nsp",
    pad_id: int = 0,
) -> Path:
    """Write samples of random tokens that have the full length, and a vocabulary of made-up words.

    Args:
        directory: a directory that does not exist.
        rows: number of training samples.
        heldout: number of held-out samples.
        max_seq_length: length of all samples in tokens, with the special tokens.
        vocab_size: number of token ids.
        segments: kind of the samples, as of the preprocessing's option.
        pad_id: id of the padding token, 0 or 1.
    """
    tokenizer = directory / TOKENIZER_DIRECTORY
    tokenizer.mkdir(parents=True)
    words = [*SPECIAL, *(f"w{number}" for number in range(vocab_size - len(SPECIAL)))]
    words[0], words[pad_id] = words[pad_id], words[0]
    model = models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]")
    Tokenizer(model).save(str(tokenizer / "tokenizer.json"))
    (tokenizer / "vocab.txt").write_text("\n".join(words) + "\n")
    rng, length = np.random.default_rng(0), max_seq_length - (3 if segments in PAIRS else 2)
    splits = {}
    for split, count in ((TRAIN, rows), (HELDOUT, heldout)):
        batch = sample_batch(
            rng.integers(len(SPECIAL), vocab_size, count * length).astype(np.uint16),
            (length * np.arange(count + 1)).astype(np.int32),
            (rng.integers(1, length, count) if segments in PAIRS else np.full(count, length)).astype(np.uint16),
            rng.integers(2, size=count).astype(np.uint8),
            np.arange(count, dtype=np.uint32),
            vocab_size,
        )
        splits[split] = Split.of([write_shard(directory / f"{split}-00000.arrow", [batch], vocab_size)])
    identity = sha256_file(tokenizer / "tokenizer.json")
    manifest = Manifest(vocab_size, max_seq_length, segments, identity, {}, splits)
    write_text(directory / MANIFEST_NAME, manifest.to_json())
    return directory
