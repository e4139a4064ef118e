"""The kinds of tokenizers by name. To add one, add a module to this package, a line to KINDS and one to defaults.py."""

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Tokenizer, models

from preprocessing.tokenizer import bytelevel, unigram, wordpiece
from preprocessing.tokenizer.defaults import DEFAULTS, Defaults


@dataclass(frozen=True, kw_only=True)
class Kind(Defaults):
    """A kind of tokenizer."""

    model: type
    """Its model class in huggingface/tokenizers."""
    parts: tuple[str, str | None, str]
    """Types of model, normalizer and pre_tokenizer in the `tokenizer.json` of published tokenizers."""
    special_tokens: dict[str, str]
    """Special tokens by their names in `transformers`."""
    train: Callable[..., Tokenizer]
    """From sentences, vocab_size and lower_case, optionally strip_accents and character_coverage, to a tokenizer."""
    tokenizer_class: str
    """Class that `transformers` loads it as: a dedicated class only if it computes the same ids."""
    has_segments: bool
    """Whether the model distinguishes A from B by token_type_ids."""


KINDS = {
    "wordpiece": Kind(
        **vars(DEFAULTS["wordpiece"]),
        model=models.WordPiece,
        parts=("WordPiece", "BertNormalizer", "BertPreTokenizer"),
        special_tokens=wordpiece.SPECIAL_TOKENS,
        train=wordpiece.train,
        tokenizer_class="BertTokenizer",
        has_segments=True,
    ),
    "bytelevel_bpe": Kind(
        **vars(DEFAULTS["bytelevel_bpe"]),
        model=models.BPE,
        parts=("BPE", None, "ByteLevel"),
        special_tokens=bytelevel.SPECIAL_TOKENS,
        train=bytelevel.train,
        tokenizer_class="PreTrainedTokenizerFast",
        has_segments=False,
    ),
    "unigram": Kind(
        **vars(DEFAULTS["unigram"]),
        model=models.Unigram,
        parts=("Unigram", "Sequence", "Sequence"),
        special_tokens=unigram.SPECIAL_TOKENS,
        train=unigram.train,
        tokenizer_class="PreTrainedTokenizerFast",
        has_segments=True,
    ),
}


def kind_of(tokenizer: Tokenizer) -> Kind:
    """The kind of a tokenizer that this package made or loaded."""
    return next(kind for kind in KINDS.values() if isinstance(tokenizer.model, kind.model))


def size_of(tokenizer: Tokenizer) -> int:
    """Number of ids: one more than the largest, as some ids may have no token."""
    return 1 + max(tokenizer.get_vocab().values())


def special_id(tokenizer: Tokenizer, name: str) -> int:
    """The id of a special token by its name in `transformers`, such as `unk_token`."""
    number = tokenizer.token_to_id(kind_of(tokenizer).special_tokens[name])
    assert number is not None, "making and loading check that it is there"
    return number
