"""Laws of pipeline/data/masking.py."""

import re
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.hashing import Purpose
from pipeline.data.masking import Draw, MaskingConfig, num_predictions, position_keys, ranges, uniform
from pipeline.data.packing import Packed
from pipeline.data.special_tokens import SpecialTokens

CLS, SEP, MASK, VOCAB_SIZE = 2, 3, 4, 60
SPECIAL = SpecialTokens(
    {"cls": CLS, "sep": SEP, "mask": MASK, "pad": 0}, np.arange(VOCAB_SIZE) < 5, np.arange(VOCAB_SIZE) % 3 == 0
)
DEFAULT = MaskingConfig()

SAMPLES = st.lists(
    st.tuples(st.lists(st.integers(5, VOCAB_SIZE - 1), min_size=2, max_size=40), st.integers(1, 39)),
    min_size=1,
    max_size=6,
)
CONFIGS = st.builds(
    MaskingConfig,
    probability=st.sampled_from([0.05, 0.15, 0.3, 0.5]),
    max_predictions=st.integers(1, 20),
    whole_word=st.booleans(),
    duplicates=st.integers(0, 3),
)


def pack(samples):
    """Lay `(tokens, boundary)` pairs end to end, with special tokens."""
    rows = [[CLS, *tokens[:at], SEP, *tokens[at:], SEP] for tokens, at in samples]
    input_ids = np.concatenate(rows)
    return input_ids, input_ids >= 5, np.cumsum([0] + [len(row) for row in rows])


def mask_tokens(input_ids, is_text, cu_seqlens, draw, config, special):
    """Return the masks of packed samples: input_ids, positions, labels."""
    nowhere = np.zeros_like(input_ids)
    packed = Packed(input_ids, nowhere, nowhere, cu_seqlens, is_text)
    corrupted = config.apply(packed, config.counts(np.diff(cu_seqlens), draw), draw, special)
    return SimpleNamespace(input_ids=corrupted.input_ids, **corrupted.targets)


def random_text(random, length, count=1):
    """Return `count` samples of `length` random tokens."""
    return [(random.integers(5, VOCAB_SIZE, length).tolist(), length // 2) for _ in range(count)]


def draw_of(count, seed=0, epoch=0, first=0):
    """Return the draw of the samples first, first + 1, ..."""
    return Draw(seed, np.full(count, epoch), np.arange(first, first + count))


def units_in_random_order(row, key, whole_word):
    """Return the tokens or words of one packed sample as lists of positions, in the order of their first positions'
    draws.
    """
    units = []
    for position, token in enumerate(row):
        if token < 5:
            continue
        if whole_word and SPECIAL.is_continuation[token] and row[position - 1] >= 5:
            units[-1].append(position)
        else:
            units.append([position])
    return sorted(units, key=lambda unit: int(fold_scalar(key, unit[0])) >> 16)


def fold_scalar(key, position):
    """Compute SplitMix64's output in plain Python."""
    bits = (key + (position + 1) * 0x9E3779B97F4A7C15) % 2**64
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
    return bits ^ (bits >> 31)


def slow_positions(row, key, config):
    """Find the masked positions of one packed sample as google-research/bert does, and fill them up token by token."""
    wanted = min(config.max_predictions, max(1, round(len(row) * config.probability)))
    masked, skipped = [], []
    for unit in units_in_random_order(row, key, config.whole_word):
        if len(masked) >= wanted:
            break
        if len(masked) + len(unit) > wanted:
            skipped.append(unit)
        else:
            masked += unit
    filling = [position for unit in skipped for position in unit]
    return sorted(masked + filling[: wanted - len(masked)])


@given(SAMPLES, CONFIGS, st.integers(0, 2**63), st.integers(0, 5))
def test_the_positions_equal_a_slow_reference(samples, config, seed, epoch):
    """For tokens and for whole words, the computation on a batch finds the positions that a loop over
    one sample finds.
    """
    samples = [(tokens, min(at, len(tokens) - 1)) for tokens, at in samples]
    input_ids, is_text, cu_seqlens = pack(samples)
    draw = draw_of(len(samples), seed, epoch)
    keys = draw.keys(Purpose.MASKED_POSITION, config.duplicates).tolist()
    expected = [
        start + position
        for start, end, key in zip(cu_seqlens[:-1].tolist(), cu_seqlens[1:].tolist(), keys, strict=True)
        for position in slow_positions(input_ids[start:end].tolist(), key, config)
    ]
    assert mask_tokens(input_ids, is_text, cu_seqlens, draw, config, SPECIAL).positions.tolist() == expected


@given(SAMPLES, CONFIGS, st.integers(0, 2**63))
def test_counts_are_exact_and_only_text_is_masked(samples, config, seed):
    """Each sample has exactly `num_predictions` different masked text tokens, and their labels are the
    original tokens.
    """
    samples = [(tokens, min(at, len(tokens) - 1)) for tokens, at in samples]
    input_ids, is_text, cu_seqlens = pack(samples)
    masked = mask_tokens(input_ids, is_text, cu_seqlens, draw_of(len(samples), seed), config, SPECIAL)
    per_sample = np.histogram(masked.positions, cu_seqlens)[0]
    assert per_sample.tolist() == num_predictions(np.diff(cu_seqlens), config).tolist()
    assert is_text[masked.positions].all()
    assert (np.diff(masked.positions) > 0).all()
    assert np.array_equal(masked.labels, input_ids[masked.positions])
    untouched = np.delete(np.arange(len(input_ids)), masked.positions)
    assert np.array_equal(masked.input_ids[untouched], input_ids[untouched])


@given(SAMPLES, CONFIGS)
def test_a_word_is_masked_whole_but_for_one_per_sample(samples, config):
    """With whole-word masking, at most one word of a sample is masked in part, and of this word the first tokens."""
    config = replace(config, whole_word=True)
    samples = [(tokens, min(at, len(tokens) - 1)) for tokens, at in samples]
    input_ids, is_text, cu_seqlens = pack(samples)
    masked = mask_tokens(input_ids, is_text, cu_seqlens, draw_of(len(samples)), config, SPECIAL)
    chosen = np.isin(np.arange(len(input_ids)), masked.positions)
    for start, end in pairwise(cu_seqlens):
        words = units_in_random_order(input_ids[start:end], 0, whole_word=True)
        states = [chosen[start + np.array(word)] for word in words]
        cut = [state for state in states if state.any() and not state.all()]
        assert len(cut) <= 1
        assert all((np.diff(state.astype(int)) <= 0).all() for state in cut)


@given(SAMPLES, CONFIGS, st.integers(0, 2**63))
def test_a_sample_is_masked_alone_as_in_a_batch(samples, config, seed):
    """Neither masked positions nor tokens of a sample depend on the samples beside it (law 1)."""
    samples = [(tokens, min(at, len(tokens) - 1)) for tokens, at in samples]
    input_ids, is_text, cu_seqlens = pack(samples)
    together = mask_tokens(input_ids, is_text, cu_seqlens, draw_of(len(samples), seed), config, SPECIAL)
    for number, (start, end) in enumerate(pairwise(cu_seqlens)):
        lengths = np.array([0, end - start])
        alone = mask_tokens(
            input_ids[start:end], is_text[start:end], lengths, draw_of(1, seed, 0, number), config, SPECIAL
        )
        inside = (together.positions >= start) & (together.positions < end)
        assert np.array_equal(alone.input_ids, together.input_ids[start:end])
        assert np.array_equal(alone.positions + start, together.positions[inside])


@given(st.integers(5, 2000), st.floats(0.01, 0.5), st.integers(1, 100))
def test_the_number_of_predictions_is_berts(length, probability, max_predictions):
    """The vectorised count equals the Python expression of google-research/bert, also at halves."""
    config = MaskingConfig(probability, max_predictions=max_predictions)
    expected = min(max_predictions, max(1, round(length * probability)))
    assert num_predictions(np.array([length], np.int32), config).tolist() == [expected]
    assert num_predictions(np.array([10, 30, 50]), DEFAULT).tolist() == [2, 4, 8]  # 1.5, 4.5 and 7.5


def test_the_shares_are_80_10_10():
    """80 % of masked tokens become [MASK], 10 % a token of the whole vocabulary, 10 % stay, within four sigma."""
    input_ids, is_text, cu_seqlens = pack([([7] * 125, 60)] * 4000)
    masked = mask_tokens(input_ids, is_text, cu_seqlens, draw_of(4000), DEFAULT, SPECIAL)
    tokens, count = masked.input_ids[masked.positions], len(masked.positions)
    assert count == 4000 * 19
    assert abs((tokens == MASK).mean() - (0.8 + 0.1 / VOCAB_SIZE)) < 4 * (0.16 / count) ** 0.5
    assert abs((tokens == 7).mean() - (0.1 + 0.1 / VOCAB_SIZE)) < 4 * (0.09 / count) ** 0.5
    drawn = np.bincount(tokens, minlength=VOCAB_SIZE)[[token for token in range(VOCAB_SIZE) if token not in (MASK, 7)]]
    assert abs(drawn - 0.1 * count / VOCAB_SIZE).max() < 4 * (0.1 * count / VOCAB_SIZE) ** 0.5


def test_every_text_position_is_masked_equally_often():
    """Over samples and over epochs, each text position, and each pair of neighbours, is masked equally often."""
    tokens = random_text(np.random.default_rng(0), 37)
    input_ids, is_text, cu_seqlens = pack(tokens * 5000)
    for draw in (draw_of(5000), Draw(0, np.arange(5000), np.zeros(5000, np.int64))):
        positions = mask_tokens(input_ids, is_text, cu_seqlens, draw, DEFAULT, SPECIAL).positions.reshape(5000, 6) % 40
        counts = np.bincount(positions.ravel(), minlength=40)[is_text[:40]]
        expected = 5000 * 6 / 37
        assert ((counts - expected) ** 2 / expected).sum() < 36 + 4 * 72**0.5
        neighbours = (np.diff(positions, axis=1) == 1).sum() / 5000
        pairs = is_text[:39] & is_text[1:40]
        assert abs(neighbours - pairs.sum() * 6 * 5 / (37 * 36)) < 0.06


@pytest.mark.parametrize("whole_word", [False, True])
def test_masks_change_with_epoch_sample_and_seed(whole_word):
    """A change of any of the three counters changes the masks of all of a hundred equal samples of 128 tokens."""
    config = MaskingConfig(whole_word=whole_word)
    input_ids, is_text, cu_seqlens = pack(random_text(np.random.default_rng(0), 125) * 100)
    draws = (draw_of(100), draw_of(100, seed=1), draw_of(100, epoch=1), draw_of(100, first=1))
    masked = [mask_tokens(input_ids, is_text, cu_seqlens, draw, config, SPECIAL).positions for draw in draws]
    first = masked[0].reshape(100, 19)
    assert all((first != other.reshape(100, 19)).any(axis=1).all() for other in masked[1:])


def test_a_number_of_a_masked_position_is_a_function_of_the_sample():
    """The numbers with which tokens are sampled are those of the sample alone (law 1), differ with epoch and seed, and
    are uniform.
    """
    texts = random_text(np.random.default_rng(0), 60, 200)
    input_ids, is_text, cu_seqlens = pack(texts)
    nowhere = np.zeros_like(input_ids)
    packed, counts = Packed(input_ids, nowhere, nowhere, cu_seqlens, is_text), np.full(200, 8)
    positions = (cu_seqlens[:-1, None] + np.arange(1, 33, 4)).ravel()

    def numbers(draw):
        return uniform(position_keys(packed, positions, counts, draw.keys(Purpose.REPLACEMENT))).reshape(200, 8)

    whole = numbers(draw_of(200))
    start, stop = cu_seqlens[7], cu_seqlens[8]
    alone = Packed(*(values[start:stop] for values in packed[:3]), np.array([0, stop - start]), is_text[start:stop])
    keys = draw_of(1, first=7).keys(Purpose.REPLACEMENT)
    assert (uniform(position_keys(alone, positions[56:64] - start, counts[:1], keys)) == whole[7]).all()
    for other in (draw_of(200, epoch=1), draw_of(200, seed=1)):
        assert (numbers(other) != whole).mean() > 0.99
    assert whole.min() >= 0 and whole.max() < 1 and abs(whole.mean() - 0.5) < 4 * (1 / 12 / whole.size) ** 0.5


def test_static_masking_repeats_its_duplicates():
    """With k duplicates, epoch e and epoch e + k have the same masks, and k epochs in a row have k different ones."""
    config = MaskingConfig(duplicates=3)
    input_ids, is_text, cu_seqlens = pack(random_text(np.random.default_rng(0), 60, 5))
    masks = [
        mask_tokens(input_ids, is_text, cu_seqlens, draw_of(5, epoch=epoch), config, SPECIAL).input_ids.tolist()
        for epoch in range(7)
    ]
    assert masks[0] == masks[3] == masks[6]
    assert masks[1] == masks[4]
    assert len({tuple(mask) for mask in masks}) == 3
    dynamic = mask_tokens(input_ids, is_text, cu_seqlens, draw_of(5), DEFAULT, SPECIAL).input_ids
    assert dynamic.tolist() == masks[0]


def test_masks_never_change_silently():
    """These masks hold on every machine and in every version, since every checkpoint depends on them."""
    input_ids, is_text, cu_seqlens = pack([(list(range(5, 45)), 17), (list(range(30, 50)), 9)])
    draw = Draw(12345, np.array([2, 3]), np.array([10**9, 7]))
    tokens = mask_tokens(input_ids, is_text, cu_seqlens, draw, DEFAULT, SPECIAL)
    words = mask_tokens(input_ids, is_text, cu_seqlens, draw, MaskingConfig(whole_word=True), SPECIAL)
    assert tokens.positions.tolist() == [6, 13, 27, 30, 34, 39, 45, 55, 58]
    assert tokens.input_ids[tokens.positions].tolist() == [4, 4, 4, 4, 37, 4, 4, 4, 4]
    assert words.positions.tolist() == [6, 13, 14, 25, 34, 40, 45, 55, 58]
    assert words.input_ids[words.positions].tolist() == [4, 4, 19, 16, 37, 43, 4, 4, 4]


def test_ranges_are_concatenated():
    """Ranges of integers are concatenated, and an empty one adds nothing."""
    assert ranges(np.array([5, 0, 7]), np.array([2, 0, 3])).tolist() == [5, 6, 7, 8, 9]


def test_a_sample_without_enough_text_is_our_mistake():
    """Masking a sample that the loader rejects, because it has too little text, is an assertion error."""
    with pytest.raises(AssertionError, match="too few candidates"):
        mask_tokens(np.array([CLS, SEP, SEP]), np.zeros(3, bool), np.array([0, 3]), draw_of(1), DEFAULT, SPECIAL)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("probability", 0.0, "above 0 and at most 0.5"),
        ("probability", 0.6, "above 0 and at most 0.5"),
        ("max_predictions", -1, "at least 1"),
        ("duplicates", -1, "0 \\(dynamic masking\\) or a number of masks"),
    ],
)
def test_a_wrong_field_is_named(field, value, rule):
    """A value out of range is an error with the field, its value and the rule."""
    with pytest.raises(ValueError, match=f"masking.{field} = {value}: must be {rule}"):
        MaskingConfig(**{field: value})


def test_the_fraction_changes_linearly_from_the_first_step_to_the_end():
    """Each step's section has the interpolated fraction and no schedule; a section without a schedule is its own."""
    config = MaskingConfig(0.15, 0.40, max_predictions=0, whole_word=True)
    rates = [config.at((step - 1) / 10).probability for step in range(1, 12)]
    assert rates == pytest.approx(np.linspace(0.40, 0.15, 11))
    assert config.at(0.5) == replace(config, probability=rates[5], probability_start=0.0)
    assert DEFAULT.at(0.3) is DEFAULT


def test_above_a_fraction_every_masked_token_is_replaced_by_the_mask_token():
    """Above the fraction, every masked token is replaced by [MASK] at the positions of 80/10/10; at the fraction,
    80/10/10 holds.
    """
    input_ids, is_text, cu_seqlens = pack(random_text(np.random.default_rng(0), 60, 50))
    schedule = MaskingConfig(0.15, 0.40, 0.15, max_predictions=0)
    for progress, always in ((0.0, True), (0.99, True), (1.0, False)):
        config = schedule.at(progress)
        found = mask_tokens(input_ids, is_text, cu_seqlens, draw_of(50), config, SPECIAL)
        other = mask_tokens(input_ids, is_text, cu_seqlens, draw_of(50), replace(config, mask_only_above=0.5), SPECIAL)
        assert np.array_equal(found.positions, other.positions) and np.array_equal(found.labels, other.labels)
        assert (found.input_ids[found.positions] == MASK).all() == always
        assert np.array_equal(found.input_ids, other.input_ids) == (not always)


def test_without_an_upper_bound_the_fraction_holds_at_every_length():
    """A bound of 0 is no bound, and a sample of one text token has at most one masked token."""
    config = MaskingConfig(0.4, max_predictions=0)
    assert num_predictions(np.array([128, 512, 3, 4]), config).tolist() == [51, 205, 1, 2]
    assert num_predictions(np.array([3, 4, 5]), MaskingConfig(0.5, max_predictions=0)).tolist() == [1, 2, 2]


def test_an_upper_bound_that_takes_whole_tokens_is_announced():
    """BERT's bounds only round and pass silently; a bound that removes whole tokens is a warning, or with a schedule an
    error.
    """
    assert not any(MaskingConfig(max_predictions=most).warning(512) for most in (0, 76, 77, 80))
    assert not DEFAULT.warning(128) and not MaskingConfig(0.15, 0.4, max_predictions=52).warning(128)
    text = (
        r"max_predictions = 20: is below the 77 masked tokens of a sample of 512 tokens \(masking.probability = 0.15\)"
    )
    warning = DEFAULT.warning(512)
    assert re.search(text, warning) and warning.endswith("can set it to 77, or to 0 for no upper bound")
    with pytest.raises(
        ValueError, match=r"below the 51 .* \(masking.probability_start = 0.4\).*; set it to 52, or to 0"
    ):
        MaskingConfig(0.15, 0.4).warning(128)
