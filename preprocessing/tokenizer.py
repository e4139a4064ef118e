"""WordPiece as BERT has it: read a vocabulary or train one, save what `transformers` loads, encode whole partitions.

Encoding is exact and several times faster than `encode_batch`: BERT's normaliser and pre-tokenizer never look across a
space, so each distinct space-separated word is tokenized once and its ids are gathered where it occurs.
Source: google-research/bert tokenization.py, as huggingface/tokenizers implements it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from preprocessing.errors import DataError
from preprocessing.files import read_json, write_json, write_text
from preprocessing.schema import token_type

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
"""By the names that `transformers` gives them; a trained vocabulary numbers them 0 .. 4 in this order."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
MODEL_MAX_LENGTH = 512
"""Position embeddings of the published BERT models."""
_CONTINUATION = "##"
_PUNCTUATION = r"[!-/:-@\[-`{-~\x{2010}-\x{2027}]"
"""What BERT's pre-tokenizer isolates of ASCII and of dashes, quotes and the like; the rest of it is rarer."""
_WORDS_AT_ONCE = 10_000
"""An `Encoding` is some hundred times larger than its ids, so only a few live at a time."""


def make_tokenizer(vocabulary: list[str], lower_case: bool) -> Tokenizer:
    """BERT's tokenizer with this vocabulary; token i is `vocabulary[i]`.

    Args:
        vocabulary: distinct tokens, the special ones among them.
        lower_case: whether text is lower-cased and loses its accents first.
    """
    ids = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=SPECIAL_TOKENS["unk_token"], max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=_CONTINUATION)
    ends = [(token, ids[token]) for token in (SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ends
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS.values()))
    return tokenizer


def read_vocabulary(path: Path) -> list[str]:
    """The tokens of a `vocab.txt`, one per line.

    Raises:
        DataError: a special token is missing, a line is empty or occurs twice.
    """
    try:
        tokens = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}); a vocabulary is UTF-8 text, one token per line") from None
    if missing := [token for token in SPECIAL_TOKENS.values() if token not in tokens]:
        raise DataError(f"{path}: lacks {', '.join(missing)}; add each on a line of its own, or train a vocabulary")
    first_lines: dict[str, int] = {}
    for number, token in enumerate(tokens, 1):
        if not token.strip():
            raise DataError(f"{path}:{number}: empty line; a token's id is its line number, so remove or fill the line")
        if first_lines.setdefault(token, number) != number:
            raise DataError(f"{path}:{number}: {token!r} stands already on line {first_lines[token]}; keep one of them")
    return tokens


def load_tokenizer(directory: Path) -> Tokenizer:
    """The WordPiece tokenizer of a directory with a `tokenizer.json`, such as `save_tokenizer` writes.

    Raises:
        DataError: there is none, or it is no WordPiece behind BERT's pre-tokenizer, or lacks a special token.
    """
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise DataError(f"{path}: missing; give a directory that holds it, or a vocab.txt")
    record = read_json(path)
    kinds = tuple((record.get(part) or {}).get("type") for part in ("model", "normalizer", "pre_tokenizer"))
    if kinds != ("WordPiece", "BertNormalizer", "BertPreTokenizer"):
        raise DataError(
            f"{path}: model, normalizer and pre_tokenizer are {kinds}, this version reads "
            "WordPiece, BertNormalizer, BertPreTokenizer; give the tokenizer of a BERT model, or a vocab.txt"
        )
    tokenizer = Tokenizer.from_file(str(path))
    if missing := [token for token in SPECIAL_TOKENS.values() if tokenizer.token_to_id(token) is None]:
        raise DataError(f"{path}: lacks {', '.join(missing)}; give the tokenizer of a BERT model, or a vocab.txt")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def vocabulary_of(tokenizer: Tokenizer) -> list[str]:
    """All tokens in the order of their ids."""
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def save_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
    """Writes TOKENIZER_FILES, which `transformers.AutoTokenizer` and `BertTokenizerFast` load."""
    settings = {
        **SPECIAL_TOKENS,
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": tokenizer.normalizer.lowercase,
        "strip_accents": tokenizer.normalizer.strip_accents,
        "tokenize_chinese_chars": tokenizer.normalizer.handle_chinese_chars,
        "model_max_length": MODEL_MAX_LENGTH,
    }
    write_text(directory / "vocab.txt", "".join(f"{token}\n" for token in vocabulary_of(tokenizer)))
    write_text(directory / "tokenizer.json", tokenizer.to_str(pretty=True))
    write_json(directory / "tokenizer_config.json", settings)
    write_json(directory / "special_tokens_map.json", SPECIAL_TOKENS)


def encode(tokenizer: Tokenizer, sentences: pa.StringArray) -> pa.ListArray:
    """The token ids of each sentence (S,), without special tokens.

    A special token's name in the text, such as `[MASK]`, is text like any other.
    """
    has_added_tokens = any(not token.special for token in tokenizer.get_added_tokens_decoder().values())
    encode_distinct = _encode_whole if has_added_tokens else _encode_words  # An added token may hold punctuation.
    return _encode_once(pc.split_pattern(sentences, " "), partial(encode_distinct, tokenizer))


def _encode_once(lists: pa.ListArray, encode_distinct: Callable[[pa.StringArray], pa.ListArray]) -> pa.ListArray:
    """The ids of each list (N,) of strings, for which each distinct string is encoded once."""
    occurrences = lists.values.dictionary_encode()  # (W,) indices of distinct strings
    ids = encode_distinct(occurrences.dictionary).take(occurrences.indices)  # (W,) lists of ids
    return pa.ListArray.from_arrays(ids.offsets.take(lists.offsets), ids.values)


def _encode_words(tokenizer: Tokenizer, words: pa.StringArray) -> pa.ListArray:
    """The ids of each word (N,). Most are another one in another case, or with punctuation: their pieces are shared."""
    words = pc.ascii_lower(words) if tokenizer.normalizer.lowercase else words
    pieces = pc.split_pattern(pc.replace_substring_regex(words, _PUNCTUATION, r" \0 "), " ")
    return _encode_once(pieces, partial(_encode_pieces, tokenizer))


def _encode_pieces(tokenizer: Tokenizer, pieces: pa.StringArray) -> pa.ListArray:
    """The ids of each piece (N,), by the tokenizer's parts: calling them costs a fifth of calling it."""
    normalizer, pre_tokenizer, model = tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.model

    def ids(piece: str) -> list[int]:
        if piece.isascii() and piece.isalnum():  # Nothing to normalise or to split.
            return [token.id for token in model.tokenize(piece)]
        parts = pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(piece))
        return [token.id for part, _ in parts for token in model.tokenize(part)]

    return pa.array(map(ids, pieces.to_pylist()), pa.list_(token_type(tokenizer.get_vocab_size())))


def _encode_whole(tokenizer: Tokenizer, words: pa.StringArray) -> pa.ListArray:
    """The ids of each word (N,), by the tokenizer itself."""
    tokenizer.encode_special_tokens = True
    list_type = pa.list_(token_type(tokenizer.get_vocab_size()))
    parts = []
    for start in range(0, len(words), _WORDS_AT_ONCE):
        batch = words.slice(start, _WORDS_AT_ONCE).to_pylist()
        encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        parts.append(pa.array([encoding.ids for encoding in encodings], list_type))
    return pa.concat_arrays(parts)


def train_vocabulary(
    batches: Iterable[pa.StringArray], vocab_size: int, max_characters: int, lower_case: bool
) -> list[str]:
    """A WordPiece vocabulary: special tokens, characters, then merges from the most to the least frequent.

    The trainer of huggingface/tokenizers numbers `##x` pieces in the order of a randomly seeded hash map, and which
    of equally rare characters it keeps depends on that map too. Here it is handed the characters in a fixed order, so
    equal text gives the equal vocabulary.

    Args:
        batches: sentences; read twice.
        vocab_size: number of tokens wanted; a small corpus may give fewer.
        max_characters: the most frequent characters that get tokens; words with others become [UNK].
        lower_case: as in `make_tokenizer`.
    """
    special = list(SPECIAL_TOKENS.values())
    tokenizer = make_tokenizer(special, lower_case)
    initial, following = _characters(tokenizer, batches, max_characters)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*special, *initial, *(_CONTINUATION + character for character in following)],
        initial_alphabet=initial,
        limit_alphabet=len(initial),
        show_progress=False,
    )
    tokenizer.train_from_iterator((sentence for batch in batches for sentence in batch.to_pylist()), trainer)
    return vocabulary_of(tokenizer)


def _characters(
    tokenizer: Tokenizer, batches: Iterable[pa.StringArray], max_characters: int
) -> tuple[list[str], list[str]]:
    """The most frequent characters, sorted; and those of them that occur inside words, sorted."""
    counts: Counter[str] = Counter()
    inside: set[str] = set()
    for word, count in _words(batches):
        for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(word)):
            counts.update(dict.fromkeys(piece, count))
            inside.update(piece[1:])
    kept = sorted(counts, key=lambda character: (-counts[character], character))[:max_characters]
    return sorted(kept), sorted(inside.intersection(kept))


def _words(batches: Iterable[pa.StringArray]) -> Iterator[tuple[str, int]]:
    """Distinct space-separated words of each batch with their number of occurrences."""
    for batch in batches:
        counted = pc.value_counts(pc.split_pattern(batch, " ").values)
        yield from zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
