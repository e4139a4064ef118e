"""Further words for the vocabulary of a checkpoint.

A new word begins with the mean of the vectors of the pieces that it had before, in the word embeddings as in the bias
of the logits. Source: Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression"
(https://arxiv.org/abs/2402.09977), which averages the embeddings of the former pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from pipeline.checkpoints import checkpoint
from pipeline.conversion import huggingface, vocabulary
from pipeline.conversion.importing import new_directory, write_imported
from pipeline.conversion.pretrained import Pretrained
from pipeline.families import get_family


@dataclass(frozen=True)
class Words:
    """The words of a list, compared with a vocabulary."""

    new: dict[str, list[int]]
    """New words, normalised as the tokenizer normalises text -> ids of their pieces."""
    present: list[str]
    """Words that the vocabulary has already."""
    unknown: list[str]
    """New words without any known piece."""


def extend_vocabulary(source: Path, out: Path, words: Path) -> list[str]:
    """Write a checkpoint with further words; it has the weights of the source, and no moments.

    Args:
        source: directory of a checkpoint or of a run, whose newest checkpoint is used.
        out: directory of the new checkpoint, which must not exist.
        words: file with one word in each line.

    Returns:
        Lines about what was added, and what was there already.

    Raises:
        ValueError: `out` exists, the checkpoint is damaged, its tokenizer is no WordPiece, or a word cannot be one
            token.
    """
    with new_directory(out) as temporary, TemporaryDirectory(prefix="bert-tokenizer-") as directory:
        tokenizer, found = Path(directory), checkpoint.resolve(source)
        checkpoint.verify(found)
        state = checkpoint.read_state(found)
        family = get_family(state["family"])
        config = checkpoint.model_config(found, family.config, state)
        huggingface.copy_tokenizer(found / "tokenizer", tokenizer)
        if vocabulary.size(tokenizer) != state["vocab_size"]:
            raise ValueError(
                f"{found}: the tokenizer has {vocabulary.size(tokenizer):,} tokens, the model {state['vocab_size']:,} "
                "rows; take a checkpoint with one row for each token"
            )
        listed = compare(words, read_words(words), huggingface.load_tokenizer(tokenizer))
        if not listed.new:
            raise ValueError(f"{words}: holds no word that {found} lacks; there is nothing to extend")
        vocabulary.append(tokenizer, list(listed.new))
        weights, form = dict(checkpoint.Reader(found).tensors()), family.of(config)
        for name in form.with_row_per_token:
            weights[name] = with_means(weights[name], list(listed.new.values()))
        size = state["vocab_size"] + len(listed.new)
        write_imported(Pretrained(weights, config, size, form), tokenizer, temporary, out)
    return [f"{found} -> {out}", *said(listed, size)]


def read_words(path: Path) -> list[str]:
    """Return the words of a file with one in each line; empty lines are left out.

    Raises:
        ValueError: there is no such file, or it is no UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise ValueError(f"--words {path}: no such file; name one with a word in each line") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"--words {path}: not valid UTF-8 ({error}); save it as UTF-8") from None
    return [line.strip() for line in lines if line.strip()]


def compare(path: Path, words: Sequence[str], tokenizer: Any) -> Words:
    """Compare words with the vocabulary of a tokenizer.

    Raises:
        ValueError: the tokenizer is no WordPiece, or a word is divided before the vocabulary is consulted or too long,
            so that it would never be found.
    """
    backend, vocab = tokenizer.backend_tokenizer, tokenizer.get_vocab()
    if type(backend.model).__name__ != "WordPiece":
        raise ValueError(
            f"the tokenizer is of the kind {type(backend.model).__name__}: only the vocabulary of WordPiece can be "
            "extended, because other kinds would not find a new word"
        )
    new: dict[str, list[int]] = {}
    present: list[str] = []
    for given in words:
        word = given if backend.normalizer is None else backend.normalizer.normalize_str(given)
        parts = [part for part, _ in backend.pre_tokenizer.pre_tokenize_str(word)]
        if parts != [word] or len(word) > backend.model.max_input_chars_per_word:
            divided = " ".join(parts) if parts != [word] else f"{len(word)} characters"
            raise ValueError(
                f"--words {path}: {given!r} is never one token ({divided}); give words without spaces and "
                f"punctuation, of at most {backend.model.max_input_chars_per_word} characters"
            )
        if word in vocab:
            present.append(given)
        else:
            new[word] = [token.id for token in backend.model.tokenize(word)]
    return Words(new, present, [word for word, pieces in new.items() if pieces == [tokenizer.unk_token_id]])


def with_means(rows: Tensor, pieces: Sequence[Sequence[int]]) -> Tensor:
    """Return rows (V, ...) with one further row for each list of ids: the mean of their rows."""
    means = [rows[list(ids)].double().mean(0).to(rows.dtype) for ids in pieces]
    return torch.cat([rows, torch.stack(means)])


def said(words: Words, size: int) -> list[str]:
    """Return lines about the new words."""
    return [
        f"added words: {len(words.new):,}; the vocabulary has {size:,} tokens now",
        *([f"already in the vocabulary: {', '.join(words.present)}"] if words.present else []),
        *([f"begin as the unknown token: {', '.join(words.unknown)}"] if words.unknown else []),
    ]
