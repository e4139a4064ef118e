"""Windows cover their texts, one window equals a text that fits, and logits are pooled text by text."""

import numpy as np
import pytest

from pipeline.data.template import Template
from pipeline.tasks.config import TextConfig
from pipeline.tasks.encoding import Sequences, encode
from pipeline.tasks.windows import WindowRule, divide_texts, pool, read_rule, rule_of

SEQUENCES = Sequences(lambda texts: [list(map(ord, text)) for text in texts], {"cls": 0, "sep": 1}, Template(), 8)
TEXTS = ["", "abc", "abcdef", "abcdefg", "abcdefghijklmnopq"]


@pytest.mark.parametrize("stride", [1, 2, 4, 5, 6])
def test_each_token_is_in_a_window_and_no_window_is_in_another(stride):
    """Windows begin every `stride` tokens and have six tokens, but the last one, which ends the text."""
    found = divide_texts(TEXTS, SEQUENCES, WindowRule(8, stride, "mean"))
    assert found.owners.tolist() == sorted(found.owners.tolist()) and set(found.owners) == set(range(len(TEXTS)))
    assert found.encoded.lengths.max() <= 8
    for number, text in enumerate(TEXTS):
        rows = np.flatnonzero(found.owners == number)
        windows = ["".join(map(chr, found.encoded.tokens[row])) for row in rows]
        assert windows[0] == text[:6] and windows[-1] == text[stride * (len(windows) - 1) :]
        assert all(window == text[k * stride :][:6] for k, window in enumerate(windows))
        assert len(windows) == 1 or (len(windows[-2]) == 6 and not windows[-2].endswith(windows[-1]))


def test_texts_that_fit_are_what_cut_texts_are():
    """Where no text is too long, windows are the examples of today, and pooling changes no bit."""
    found, cut = divide_texts(TEXTS[:3], SEQUENCES, rule_of(TextConfig(max_length=8))), encode(
        [(text,) for text in TEXTS[:3]], SEQUENCES
    )  # fmt: skip
    assert [tokens.tolist() for tokens in found.encoded.tokens] == [tokens.tolist() for tokens in cut.tokens]
    assert (found.encoded.lengths == cut.lengths).all() and (found.encoded.boundaries == cut.boundaries).all()
    logits = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    for pooling in ("mean", "max"):
        pooled = pool(logits, found.owners, pooling)
        assert pooled.dtype == np.float32 and (pooled == logits).all()


def test_logits_are_pooled_text_by_text():
    """The mean, or the largest logit of each class, over the windows of each text."""
    owners, logits = np.array([0, 0, 1, 2, 2, 2]), np.arange(12, dtype=np.float32).reshape(6, 2)[::-1]
    for pooling, function in (("mean", np.mean), ("max", np.max)):
        expected = [function(logits[owners == number], axis=0) for number in range(3)]
        np.testing.assert_allclose(pool(logits, owners, pooling), expected)


def test_a_gap_between_windows_is_an_error():
    """A stride beyond the room of a window would leave out tokens."""
    with pytest.raises(ValueError, match=r"text.stride = 7: must be at most 6, the tokens of a window without special"):
        divide_texts(TEXTS, SEQUENCES, WindowRule(8, 7, "mean"))


def test_the_rule_in_a_config_is_checked():
    """A rule is read as it was written; a damaged one is an error."""
    rule = WindowRule(8, 4, "max")
    assert read_rule({"long_texts": vars(rule)}) == rule and read_rule({}) is None
    for damaged in (
        {},
        None,
        {**vars(rule), "stride": 0},
        {**vars(rule), "stride": "4"},
        {**vars(rule), "pooling": "x"},
    ):
        with pytest.raises(ValueError, match=r"restore config.json"):
            read_rule({"long_texts": damaged})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stride": 4}, "text.stride = 4: has no effect; set text.long = window"),
        ({"pooling": "max"}, "text.pooling = max: has no effect; set text.long = window"),
        ({"long": "window", "stride": -1}, "text.stride = -1: must be at least 0"),
        ({"long": "window", "second": "b"}, "text.long = window: pairs of texts are not divided"),
    ],
)
def test_options_that_contradict_each_other(values, message):
    """Options of windows without windows, and windows of pairs, are errors."""
    with pytest.raises(ValueError, match=message):
        TextConfig(**values)
