"""Laws of pipeline/data/ngrams.py."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.config import MaskingConfig, NgramMasking, SpanMasking
from pipeline.data.hashing import Purpose, fold
from pipeline.data.masking import Draw
from pipeline.data.ngrams import drawn_lengths, run_stops, span_starts
from pipeline.data.packing import pack
from pipeline.data.special_tokens import SpecialTokens
from pipeline.data.template import Template

CLS, SEP, MASK, VOCAB_SIZE = 2, 3, 4, 60
SPECIAL = SpecialTokens(
    {"cls": CLS, "sep": SEP, "mask": MASK, "pad": 0}, np.arange(VOCAB_SIZE) < 5, np.arange(VOCAB_SIZE) % 3 == 0
)
WORDS_ONLY = SpecialTokens(SPECIAL.ids, SPECIAL.is_special, np.zeros(VOCAB_SIZE, bool))
SAMPLES = st.lists(
    st.tuples(st.lists(st.integers(5, VOCAB_SIZE - 1), min_size=2, max_size=40), st.integers(1, 39)),
    min_size=1,
    max_size=5,
)
COMMON = {
    "probability": st.sampled_from([0.05, 0.15, 0.5]),
    "max_predictions": st.integers(1, 20),
    "duplicates": st.integers(0, 2),
}
CONFIGS = st.one_of(
    st.builds(NgramMasking, max_ngram=st.integers(1, 4), **COMMON),
    st.builds(SpanMasking, max_words=st.integers(1, 10), geometric_p=st.sampled_from([0.2, 0.6]), **COMMON),
)
GEOMETRIC = 0.8 ** np.arange(10) / (0.8 ** np.arange(10)).sum()
"""Shares of the spans of 1 to 10 words in SpanBERT."""


def weights_of(config):
    """Return numbers to which the probabilities of the lengths of runs are proportional."""
    if isinstance(config, NgramMasking):
        return 1 / np.arange(1, config.max_ngram + 1)
    return (1 - config.geometric_p) ** np.arange(config.max_words)


def packed_pairs(samples):
    """Return packed `(tokens, boundary)` pairs."""
    samples = [(np.array(tokens), min(at, len(tokens) - 1)) for tokens, at in samples]
    return pack(Template(), [tokens for tokens, _ in samples], np.array([at for _, at in samples]), SPECIAL.ids)


def draw_of(count, seed=0, epoch=0):
    return Draw(seed, np.full(count, epoch), np.arange(count))


def positions_of(packed, config, draw, special=SPECIAL):
    """Return the masked positions of packed samples."""
    counts = config.counts(np.diff(packed.cu_seqlens), draw)
    return config.apply(packed, counts, draw, special).targets["positions"]


def words_of(row):
    """Return the words of a packed sample as lists of positions, and None in place of each special token."""
    words = []
    for position, token in enumerate(row):
        if token < 5:
            words.append(None)
        elif SPECIAL.is_continuation[token] and words[-1] is not None:
            words[-1].append(position)
        else:
            words.append([position])
    return words


def slow_positions(row, ticket_of, length_of, wanted):
    """Mask one packed sample by the rule of google-research/albert, and fill it up word by word and then token by
    token.
    """
    words, masked = words_of(row), []
    order = sorted((i for i, word in enumerate(words) if word), key=lambda i: ticket_of(words[i][0]))
    for i in order:
        run = words[i : i + length_of(words[i][0])]
        run = run[: run.index(None)] if None in run else run
        while run and len(masked) + sum(map(len, run)) > wanted:
            run = run[:-1]
        found = [position for word in run for position in word]
        if not set(found) & set(masked):
            masked += found
    skipped = []
    for i in order:
        if words[i][0] in masked:
            continue
        if len(masked) + len(words[i]) <= wanted:
            masked += words[i]
        else:
            skipped += words[i]
    return sorted(masked + skipped[: wanted - len(masked)])


@settings(max_examples=60)
@given(SAMPLES, CONFIGS, st.integers(0, 2**63), st.integers(0, 3))
def test_the_positions_equal_a_slow_reference(samples, config, seed, epoch):
    """The computation on a batch finds the positions that a loop over one sample finds, whose number is exact."""
    packed, draw = packed_pairs(samples), draw_of(len(samples), seed, epoch)
    counts = config.counts(np.diff(packed.cu_seqlens), draw)
    lengths = drawn_lengths(packed, draw.keys(Purpose.NGRAM_LENGTH, config.duplicates), weights_of(config))
    keys = draw.keys(Purpose.MASKED_POSITION, config.duplicates)
    expected = []
    for number, (start, stop) in enumerate(zip(packed.cu_seqlens[:-1], packed.cu_seqlens[1:], strict=True)):
        tickets = fold(keys[number], np.arange(stop - start)) >> np.uint64(16)
        found = slow_positions(
            packed.input_ids[start:stop].tolist(),
            lambda position, tickets=tickets: int(tickets[position]),
            lambda position, start=start: int(lengths[start + position]),
            int(counts[number]),
        )
        assert len(found) == counts[number]
        expected += [start + position for position in found]
    assert positions_of(packed, config, draw).tolist() == expected


@settings(max_examples=30)
@given(SAMPLES, st.integers(0, 2**63))
def test_runs_of_one_word_are_whole_word_masking(samples, seed):
    """With runs of one word the masks are those of whole-word masking, replacements included."""
    packed, draw = packed_pairs(samples), draw_of(len(samples), seed)
    made = []
    for config in (NgramMasking(max_ngram=1), MaskingConfig(whole_word=True)):
        corrupted = config.apply(packed, config.counts(np.diff(packed.cu_seqlens), draw), draw, SPECIAL)
        made.append((corrupted.targets["positions"].tolist(), corrupted.input_ids.tolist()))
    assert made[0] == made[1]


def test_lengths_are_drawn_in_inverse_proportion():
    """Runs of 1, 2 and 3 words are drawn with probabilities 6/11, 3/11 and 2/11."""
    packed = packed_pairs([(np.full(100, 7), 50)] * 300)
    lengths = drawn_lengths(packed, draw_of(300).keys(Purpose.NGRAM_LENGTH), 1 / np.arange(1, 4))
    shares = np.bincount(lengths, minlength=4)[1:] / len(lengths)
    assert abs(shares - np.array([6, 3, 2]) / 11).max() < 4 * (0.25 / len(lengths)) ** 0.5


def test_lengths_of_spans_are_geometric():
    """Spans of 1 to 10 words are drawn with the shares of a geometric distribution, whose mean is 3.8 words."""
    packed = packed_pairs([(np.full(100, 7), 50)] * 300)
    lengths = drawn_lengths(packed, draw_of(300).keys(Purpose.NGRAM_LENGTH), weights_of(SpanMasking()))
    shares = np.bincount(lengths, minlength=11)[1:] / len(lengths)
    assert abs(shares - GEOMETRIC).max() < 4 * (0.25 / len(lengths)) ** 0.5
    assert lengths.max() == 10 and abs(lengths.mean() - 3.80) < 4 * (lengths.std() / len(lengths) ** 0.5)


def test_positions_of_neighbours_are_one_span():
    """Consecutive positions are a span, and begin at its first one."""
    assert span_starts(np.array([1, 2, 3, 7, 9, 10])).tolist() == [1, 1, 1, 7, 9, 9]


def test_tokens_of_a_span_are_replaced_alike():
    """A span becomes mask tokens, becomes random tokens or stays as a whole: 80, 10 and 10 % of the spans; 15 % of the
    tokens are masked.
    """
    packed = packed_pairs([(np.full(398, 7), 397)] * 200)
    many = SpecialTokens(SPECIAL.ids, np.arange(1_000_000) < 5, np.zeros(1_000_000, bool))
    corrupted = SpanMasking().apply(packed, np.full(200, 60), draw_of(200), many)
    positions = corrupted.targets["positions"]
    kinds = np.select([corrupted.input_ids == MASK, corrupted.input_ids == 7], [0, 1], 2)[positions]
    spans = np.split(kinds, np.flatnonzero(np.diff(positions) > 1) + 1)
    assert len(positions) == 200 * 60 and 3.0 < len(positions) / len(spans) < 1.25 * 3.8
    assert all(len(set(span)) == 1 for span in spans)
    shares = np.bincount([span[0] for span in spans]) / len(spans)
    assert abs(shares - [0.8, 0.1, 0.1]).max() < 4 * (0.16 / len(spans)) ** 0.5


def test_masked_runs_are_longer_than_those_of_single_words():
    """At 15 % of a long text, the mean length of masked runs is that of drawn lengths, and a little more where runs
    touch.
    """
    packed = packed_pairs([(np.full(400, 7), 200)] * 40)
    positions = positions_of(packed, NgramMasking(max_predictions=0), draw_of(40), WORDS_ONLY)
    runs = 1 + (np.diff(positions) > 1).sum()
    assert len(positions) == 40 * 60 and 18 / 11 < len(positions) / runs < 1.25 * 18 / 11
    single = positions_of(packed, NgramMasking(max_predictions=0, max_ngram=1), draw_of(40), WORDS_ONLY)
    assert 1 + (np.diff(single) > 1).sum() > 1.3 * runs


def test_a_run_ends_at_a_special_token():
    """A run has whole words, and none behind a special token."""
    sizes = np.array([0, 2, 0, 1, 0, 1, 0])  # [CLS] a ##a b [SEP] c [SEP]
    assert run_stops(sizes, 3).tolist() == [[0, 3, 2, 4, 4, 6, 6], [0, 4, 2, 4, 4, 6, 6], [0, 4, 2, 4, 4, 6, 6]]


def test_masks_change_with_the_epoch_and_duplicates_repeat():
    """Every epoch has other masks, and with static masking epochs e and e + k have the same ones."""
    packed, config = packed_pairs([(np.full(60, 7), 30)] * 3), NgramMasking()
    first, second, third = (positions_of(packed, config, draw_of(3, epoch=epoch)).tolist() for epoch in range(3))
    assert first != second != third
    static = replace(config, duplicates=2)
    assert positions_of(packed, static, draw_of(3, epoch=2)).tolist() == first


def test_a_wrong_length_is_named():
    """A length below one word, and a share outside (0, 1), are errors that name the field."""
    with pytest.raises(ValueError, match=r"masking.max_ngram = 0: must be at least 1"):
        NgramMasking(max_ngram=0)
    with pytest.raises(ValueError, match=r"masking.max_words = 0: must be at least 1"):
        SpanMasking(max_words=0)
    with pytest.raises(ValueError, match=r"masking.geometric_p = 1.0: must be above 0 and below 1"):
        SpanMasking(geometric_p=1.0)
