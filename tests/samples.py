"""Samples directories for tests, made without the preprocessing stages."""

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from preprocessing.files import sha256_file, write_text
from preprocessing.schema import HELDOUT, LABELLED, MANIFEST_NAME, TOKENIZER_DIRECTORY, TRAIN, Manifest, Split
from preprocessing.shards import sample_batch, write_shard

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_tokenizer(directory: Path, vocab_size: int, pad_id: int = 0) -> None:
    """Write a WordPiece tokenizer with made-up words, as transformers loads it."""
    directory.mkdir(parents=True)
    special = SPECIAL[1:]
    special.insert(pad_id, SPECIAL[0])
    words = special + [f"w{i}" if i % 4 else f"##p{i}" for i in range(vocab_size - len(SPECIAL))]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIAL)
    numbers = [("[CLS]", words.index("[CLS]")), ("[SEP]", words.index("[SEP]"))]
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", pair, numbers)
    tokenizer.save(str(directory / "tokenizer.json"))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512} | names
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    (directory / "vocab.txt").write_text("\n".join(words) + "\n")


def make_samples(
    directory: Path,
    *,
    train: int = 256,
    heldout: int = 14,
    vocab_size: int = 120,
    max_seq_length: int = 32,
    seed: int = 0,
    segments: str = "nsp",
    pad_id: int = 0,
) -> Path:
    """Write samples with something to learn: each token follows from the one before, and in pairs B
    continues A or not. The ranks of a test have unequally many of the held-out samples.
    """
    directory.mkdir(parents=True)
    write_tokenizer(directory / TOKENIZER_DIRECTORY, vocab_size, pad_id)
    rng = np.random.default_rng(seed)
    splits = {}
    for split, rows in ((TRAIN, train), (HELDOUT, heldout)):
        samples = [sample(rng, vocab_size, max_seq_length - 3) for _ in range(rows)]
        if segments not in LABELLED:  # single segments
            samples = [(tokens, len(tokens), 0) for tokens, _, _ in samples]
        tokens = [tokens for tokens, _, _ in samples]
        batch = sample_batch(
            np.concatenate(tokens).astype(np.uint16),
            np.cumsum([0] + [len(t) for t in tokens]).astype(np.int32),
            np.array([boundary for _, boundary, _ in samples], np.uint16),
            np.array([label for _, _, label in samples], np.uint8),
            np.arange(rows, dtype=np.uint32),
            vocab_size,
        )
        splits[split] = Split.of([write_shard(directory / f"{split}-00000.arrow", [batch], vocab_size)])
    tokenizer_sha256 = sha256_file(directory / TOKENIZER_DIRECTORY / "tokenizer.json")
    manifest = Manifest(vocab_size, max_seq_length, segments, tokenizer_sha256, {}, splits)
    write_text(directory / MANIFEST_NAME, manifest.to_json())
    return directory


def sample(rng: np.random.Generator, vocab_size: int, longest: int) -> tuple[np.ndarray, int, int]:
    """Return (tokens, boundary, label) of one pair; most have the full length, as in real data."""
    length = longest if rng.random() < 0.9 else int(rng.integers(2, longest + 1))
    words = vocab_size - len(SPECIAL)
    boundary, label = int(rng.integers(1, length)), int(rng.integers(2))
    walk = (rng.integers(words) + 3 * np.arange(length)) % words
    if label:
        walk[boundary:] = (rng.integers(words) + 3 * np.arange(length - boundary)) % words
    return walk + len(SPECIAL), boundary, label
