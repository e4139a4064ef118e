"""WordPiece, the tokenizer of BERT: reads or trains a vocabulary.

Source: google-research/bert tokenization.py, as huggingface/tokenizers implements it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from preprocessing.errors import DataError
from preprocessing.textfiles import decode_text
from preprocessing.tokenizer.defaults import WORDPIECE_COVERAGE

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
"""Special tokens by their names in `transformers`; in a trained vocabulary their ids are 0 .. 4 in this order."""
CONTINUATION = "##"
"""Prefix of a token that continues a word."""
_ALPHABET_PART = 15
"""Characters take up to 1/15 of a vocabulary even if the coverage needs fewer, because a rare character makes a word
unknown: some 1,000 characters of 30,522 tokens, as many as the trainer of huggingface/tokenizers keeps for BERT."""
_BLANKS = " \t\r\v\f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""Characters that huggingface/tokenizers strips from the end of a line of vocab.txt: Unicode's White_Space."""


def make_tokenizer(
    vocabulary: list[str], lower_case: bool, strip_accents: bool | None = None, chinese_characters: bool = True
) -> Tokenizer:
    """BERT's tokenizer with this vocabulary; token i is `vocabulary[i]`.

    Args:
        vocabulary: tokens, including the special ones. Of equal tokens the last counts, as in `transformers`; the ids
            of the others have no token.
        lower_case: whether text is lower-cased first.
        strip_accents: whether combining marks are removed first; None: if text is lower-cased.
        chinese_characters: whether each Chinese character is a word of its own.
    """
    ids = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=SPECIAL_TOKENS["unk_token"], max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=lower_case,
        strip_accents=None if strip_accents == lower_case else strip_accents,  # As in the published files.
        handle_chinese_chars=chinese_characters,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION)
    ends = [(token, ids[token]) for token in (SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ends
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS.values()))
    return tokenizer


def read_vocabulary(path: Path) -> list[str]:
    """The tokens of a `vocab.txt`, one per line, as BertTokenizer of `transformers` reads them.

    Lines end at line feeds only. Trailing blanks are stripped unless the line has nothing else: U+2028, U+3000 and
    others are tokens of published vocabularies. A token may occur twice.

    Raises:
        DataError: a special token is missing, or a line is empty.
    """
    try:
        lines = decode_text(path.read_bytes()).removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}); a vocabulary is UTF-8 text, one token per line") from None
    lines = [line.removesuffix("\r") for line in lines]
    tokens = [line.rstrip(_BLANKS) or line for line in lines]
    if missing := [token for token in SPECIAL_TOKENS.values() if token not in tokens]:
        raise DataError(f"{path}: lacks {', '.join(missing)}; add each on a line of its own, or train a vocabulary")
    if "" in tokens:
        raise DataError(
            f"{path}:{tokens.index('') + 1}: empty line; a token's id is its line number, so restore the file, or put "
            "a token such as [unused0] there"
        )
    return tokens


def vocabulary_of(tokenizer: Tokenizer) -> list[str]:
    """A token for each id; a placeholder such as `[duplicate7]` for an id without a token."""
    tokens = {number: token for token, number in tokenizer.get_vocab().items()}
    return [tokens.get(number) or _filler(tokenizer, number) for number in range(max(tokens) + 1)]


def _filler(tokenizer: Tokenizer, number: int) -> str:
    name = f"[duplicate{number}]"
    while tokenizer.token_to_id(name) is not None:
        name = f"[{name}]"
    return name


def train(
    batches: Iterable[pa.StringArray],
    vocab_size: int,
    lower_case: bool,
    strip_accents: bool | None = None,
    character_coverage: float = WORDPIECE_COVERAGE,
) -> Tokenizer:
    """Trains a tokenizer with the vocabulary of `train_vocabulary`."""
    tokens = train_vocabulary(batches, vocab_size, character_coverage, lower_case, strip_accents)
    return make_tokenizer(tokens, lower_case, strip_accents)


def train_vocabulary(
    batches: Iterable[pa.StringArray],
    vocab_size: int,
    character_coverage: float,
    lower_case: bool,
    strip_accents: bool | None = None,
) -> list[str]:
    """Trains a WordPiece vocabulary: special tokens, characters, then merges in order of frequency.

    The trainer of huggingface/tokenizers numbers `##x` pieces, and selects among equally rare characters, in the order
    of a randomly seeded hash map. Here it is given the characters in a fixed order, so that equal text gives an equal
    vocabulary.

    Args:
        batches: sentences; read twice.
        vocab_size: number of tokens; a small corpus may give fewer.
        character_coverage: share of the text's characters that get tokens, the most frequent first; words with others
            become [UNK]. There may be room for fewer; rarer ones also get tokens while all of them take up to
            1 / _ALPHABET_PART of the vocabulary.
        lower_case: as in `make_tokenizer`.
        strip_accents: as in `make_tokenizer`.
    """
    special = list(SPECIAL_TOKENS.values())
    tokenizer = make_tokenizer(special, lower_case, strip_accents)
    initial, following = _characters(tokenizer, batches, vocab_size - len(special), character_coverage)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*special, *initial, *(CONTINUATION + character for character in following)],
        initial_alphabet=initial,
        limit_alphabet=len(initial),
        show_progress=False,
    )
    tokenizer.train_from_iterator((sentence for batch in batches for sentence in batch.to_pylist()), trainer)
    return vocabulary_of(tokenizer)


def _characters(
    tokenizer: Tokenizer, batches: Iterable[pa.StringArray], room: int, coverage: float
) -> tuple[list[str], list[str]]:
    """The characters that get tokens, and those of them that also occur inside words, both sorted.

    Args:
        tokenizer: defines words.
        batches: sentences.
        room: most tokens for characters: one each, and a second one ("##") if the character occurs inside words.
        coverage: share of the text's characters that should get tokens.
    """
    counts: Counter[str] = Counter()
    inside: set[str] = set()
    for word, count in _words(batches):
        for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(word)):
            for character in piece:
                counts[character] += count
            inside.update(piece[1:])
    wanted, covered, taken = coverage * counts.total(), 0, 0
    kept: list[str] = []
    for character in sorted(counts, key=lambda character: (-counts[character], character)):
        taken += 1 + (character in inside)
        if taken > room or (covered >= wanted and taken > room / _ALPHABET_PART):
            break
        covered += counts[character]
        kept.append(character)
    return sorted(kept), sorted(inside.intersection(kept))


def _words(batches: Iterable[pa.StringArray]) -> Iterator[tuple[str, int]]:
    """Distinct space-separated words of each batch with their number of occurrences."""
    for batch in batches:
        counted = pc.value_counts(pc.split_pattern(batch, " ").values)
        yield from zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
