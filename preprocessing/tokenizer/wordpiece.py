"""WordPiece as BERT has it: read a vocabulary or train one.

Source: google-research/bert tokenization.py, as huggingface/tokenizers implements it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from preprocessing.errors import DataError
from preprocessing.textfiles import read_text

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
"""By the names that `transformers` gives them; a trained vocabulary numbers them 0 .. 4 in this order."""
MAX_CHARACTERS = 1000
"""Most characters of a trained vocabulary: the trainer default of huggingface/tokenizers for BERT."""
_CONTINUATION = "##"


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
        tokens = read_text(path).removesuffix("\n").split("\n")
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


def vocabulary_of(tokenizer: Tokenizer) -> list[str]:
    """All tokens in the order of their ids."""
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def train(batches: Iterable[pa.StringArray], vocab_size: int, lower_case: bool) -> Tokenizer:
    """A tokenizer with the vocabulary that `train_vocabulary` finds."""
    # Each character takes up to two tokens: alone, and as a "##" piece.
    max_characters = min(MAX_CHARACTERS, (vocab_size - len(SPECIAL_TOKENS)) // 2)
    return make_tokenizer(train_vocabulary(batches, vocab_size, max_characters, lower_case), lower_case)


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
