"""The kinds of tokenizers by name. A new one is a new file beside this one and a line in KINDS."""

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Tokenizer, models

from preprocessing.tokenizer import bytelevel, unigram, wordpiece


@dataclass(frozen=True)
class Kind:
    """A way of cutting words into pieces."""

    model: type
    """Class of huggingface/tokenizers that does it."""
    parts: tuple[str, str | None, str]
    """Types of model, normalizer and pre_tokenizer in the `tokenizer.json` of a published one."""
    special_tokens: dict[str, str]
    """By the names that `transformers` gives them."""
    train: Callable[..., Tokenizer]
    """From sentences, vocab_size and lower_case; strip_accents and character_coverage may follow."""
    character_coverage: float | None
    """Share of the characters that get tokens where nothing else is said; None: all bytes have one."""
    vocab_size: int
    """Number of tokens of the published one, and of a trained one where nothing else is said."""
    smallest: int
    """Fewest tokens that make sense."""
    lower_case: bool
    """Whether the published one lower-cases text; the default."""
    tokenizer_class: str
    """What `transformers` loads it as: a class of its own only where that computes the same."""
    has_segments: bool
    """Whether the model tells A from B by token_type_ids."""


KINDS = {
    "wordpiece": Kind(
        models.WordPiece,
        ("WordPiece", "BertNormalizer", "BertPreTokenizer"),
        wordpiece.SPECIAL_TOKENS,
        wordpiece.train,
        wordpiece.CHARACTER_COVERAGE,
        vocab_size=30_522,
        smallest=100,
        lower_case=True,
        tokenizer_class="BertTokenizer",
        has_segments=True,
    ),
    "bytelevel_bpe": Kind(
        models.BPE,
        ("BPE", None, "ByteLevel"),
        bytelevel.SPECIAL_TOKENS,
        bytelevel.train,
        None,
        vocab_size=50_265,
        smallest=bytelevel.SMALLEST,
        lower_case=False,
        tokenizer_class="PreTrainedTokenizerFast",
        has_segments=False,
    ),
    "unigram": Kind(
        models.Unigram,
        ("Unigram", "Sequence", "Sequence"),
        unigram.SPECIAL_TOKENS,
        unigram.train,
        unigram.CHARACTER_COVERAGE,
        vocab_size=30_000,
        smallest=100,
        lower_case=True,
        tokenizer_class="PreTrainedTokenizerFast",
        has_segments=True,
    ),
}


def kind_of(tokenizer: Tokenizer) -> Kind:
    """The kind of a tokenizer that this package made or loaded."""
    return next(kind for kind in KINDS.values() if isinstance(tokenizer.model, kind.model))


def size_of(tokenizer: Tokenizer) -> int:
    """Number of ids: one more than the largest, as some may be no token's."""
    return 1 + max(tokenizer.get_vocab().values())


def special_id(tokenizer: Tokenizer, name: str) -> int:
    """The id of a special token, by the name that `transformers` gives it, such as `unk_token`."""
    number = tokenizer.token_to_id(kind_of(tokenizer).special_tokens[name])
    assert number is not None, "making and loading check that it is there"
    return number
