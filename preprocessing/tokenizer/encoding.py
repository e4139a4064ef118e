"""Encodes sentences to token ids; each distinct word is tokenized once.

The result is exact, and several times faster than `encode_batch`: no tokenizer here looks across a space, so each
distinct space-separated word is tokenized once and its ids are copied to every occurrence. BERT's pre-tokenizer splits
at white space; GPT-2's attaches a space to the word after it, and Metaspace puts its mark there, also before the first
word of a sentence. BERT's also isolates punctuation, so that most distinct words share their pieces.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer, models

from preprocessing.schema import token_type
from preprocessing.tokenizer.registry import kind_of, size_of, special_id

_PUNCTUATION = r"[!-/:-@\[-`{-~\x{2010}-\x{2027}]"
"""ASCII and common typographic punctuation, which BERT's pre-tokenizer isolates; other punctuation is rarer."""
_WORDS_AT_ONCE = 10_000
"""Words per call: an `Encoding` is some hundred times larger than its ids, so few are kept in memory."""


def encode(tokenizer: Tokenizer, sentences: pa.StringArray) -> pa.ListArray:
    """The token ids of each sentence (S,), without special tokens.

    The name of a special token in the text, such as `[MASK]`, is encoded as ordinary text. Each sentence is encoded as
    if a space preceded it, so that the concatenated ids of several sentences are those of the sentences joined by
    spaces.

    Args:
        tokenizer: one of the kinds in registry.py.
        sentences: with single spaces between words and none at their ends, as `split_sentences` returns them; BERT's
            tokenizer also accepts other white space.
    """
    tokenizer.encode_special_tokens = True
    # A token added to the vocabulary may contain punctuation.
    has_added_tokens = any(not token.special for token in tokenizer.get_added_tokens_decoder().values())
    by_pieces = isinstance(tokenizer.model, models.WordPiece) and not has_added_tokens
    words = pc.split_pattern(sentences, " ")
    return _encode_once(words, partial(_encode_by_pieces if by_pieces else _encode_whole, tokenizer))


def _encode_once(lists: pa.ListArray, encode_distinct: Callable[[pa.StringArray], pa.ListArray]) -> pa.ListArray:
    """The ids of each list (N,) of strings; each distinct string is encoded once."""
    occurrences = lists.values.dictionary_encode()  # (W,) indices of distinct strings
    ids = encode_distinct(occurrences.dictionary).take(occurrences.indices)  # (W,) lists of ids
    return pa.ListArray.from_arrays(ids.offsets.take(lists.offsets), ids.values)


def _encode_by_pieces(tokenizer: Tokenizer, words: pa.StringArray) -> pa.ListArray:
    """The ids of each word (N,), by pieces that words share: most differ only in case and punctuation."""
    words = pc.ascii_lower(words) if tokenizer.normalizer.lowercase else words
    pieces = pc.split_pattern(pc.replace_substring_regex(words, _PUNCTUATION, r" \0 "), " ")
    return _encode_once(pieces, partial(_encode_pieces, tokenizer))


def _encode_pieces(tokenizer: Tokenizer, pieces: pa.StringArray) -> pa.ListArray:
    """The ids of each piece (N,), by calling the components of the tokenizer, at a fifth of the cost of the
    tokenizer."""
    normalizer, pre_tokenizer, model = tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.model

    def ids(piece: str) -> list[int]:
        if piece.isascii() and piece.isalnum():  # Nothing to normalise or to split.
            return [token.id for token in model.tokenize(piece)]
        parts = pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(piece))
        return [token.id for part, _ in parts for token in model.tokenize(part)]

    return pa.array(map(ids, pieces.to_pylist()), pa.list_(token_type(size_of(tokenizer))))


def _encode_whole(tokenizer: Tokenizer, words: pa.StringArray) -> pa.ListArray:
    """The ids of each word (N,), by calling the tokenizer itself."""
    list_type = pa.list_(token_type(size_of(tokenizer)))
    parts = [pa.array([], list_type)]
    for start in range(0, len(words), _WORDS_AT_ONCE):
        batch = words.slice(start, _WORDS_AT_ONCE).to_pylist()
        encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        parts.append(pa.array([encoding.ids for encoding in encodings], list_type))
    ids = pa.concat_arrays(parts)
    return _without_special(tokenizer, ids) if isinstance(tokenizer.model, models.Unigram) else ids


def _without_special(tokenizer: Tokenizer, ids: pa.ListArray) -> pa.ListArray:
    """The ids with those of special tokens replaced by the unknown token, as in SentencePiece: the unigram model also
    finds pieces that are names of special tokens."""
    special = [special_id(tokenizer, name) for name in kind_of(tokenizer).special_tokens]
    values = ids.values.to_numpy()
    unknown = values.dtype.type(special_id(tokenizer, "unk_token"))
    return pa.ListArray.from_arrays(ids.offsets, pa.array(np.where(np.isin(values, special), unknown, values)))
