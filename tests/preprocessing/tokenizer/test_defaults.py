"""Laws of preprocessing/tokenizer/defaults.py."""

import pytest

from preprocessing.options import TokenizerConfig
from preprocessing.tokenizer.defaults import DEFAULTS


@pytest.mark.parametrize("kind", DEFAULTS)
def test_the_defaults_of_a_kind_are_those_of_its_options(kind):
    """The defaults of a kind are those of its options, and keep the rules of the options."""
    config = TokenizerConfig(kind=kind)
    assert (config.size, config.coverage) == (DEFAULTS[kind].vocab_size, DEFAULTS[kind].character_coverage)
    with pytest.raises(ValueError, match="vocab_size"):
        TokenizerConfig(kind=kind, vocab_size=DEFAULTS[kind].smallest - 1)
