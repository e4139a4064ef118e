"""A shuffled context has the same words, masks and labels in another order within each segment."""

import numpy as np
import pytest

from pipeline.data.config import MaskingConfig
from pipeline.data.heldout import EVALUATION, evaluation_batches
from pipeline.data.masking import Draw
from pipeline.data.packing import pack
from pipeline.data.shuffling import ShuffledContext
from pipeline.data.special_tokens import SpecialTokens
from pipeline.data.template import Template
from pipeline.families.roberta import TEMPLATE as ROBERTA

MASKING = MaskingConfig(probability=0.2, max_predictions=99)
SPECIAL = SpecialTokens({"pad": 0, "cls": 1, "sep": 2, "mask": 3}, np.arange(400) < 4, np.zeros(400, np.bool_))


def corrupted(corruption, template, rows=(0, 1, 2, 3), sizes=(30, 12, 25, 2)):
    """Return packed samples of distinct tokens, before and after corruption."""
    tokens = [np.arange(10 + 40 * row, 10 + 40 * row + sizes[row]) for row in rows]
    boundaries = np.array([[12, 5, 25, 1][row] for row in rows])
    packed = pack(template, tokens, boundaries, SPECIAL.ids)
    draw = Draw(7, np.zeros(len(rows), np.int64), np.array(rows))
    counts = corruption.counts(np.diff(packed.cu_seqlens), draw)
    return packed, corruption.apply(packed, counts, draw, SPECIAL)


@pytest.mark.parametrize("template", [Template(), ROBERTA], ids=["bert", "roberta"])
def test_only_the_order_of_visible_words_changes(template):
    """Special tokens, masked positions with their tokens, and labels are unchanged, and each segment
    keeps its words.
    """
    packed, intact = corrupted(MASKING, template)
    _, shuffled = corrupted(ShuffledContext(MASKING), template)
    positions = intact.targets["positions"]
    assert all(np.array_equal(intact.targets[name], shuffled.targets[name]) for name in ("positions", "labels"))
    stays = ~packed.is_text
    stays[positions] = True
    assert np.array_equal(intact.input_ids[stays], shuffled.input_ids[stays])
    rows = np.repeat(np.arange(4), np.diff(packed.cu_seqlens))
    for row in range(4):
        for segment in (0, 1):
            there = (rows == row) & (packed.segment_ids == segment)
            assert sorted(intact.input_ids[there]) == sorted(shuffled.input_ids[there])
    moved = intact.input_ids[~stays] != shuffled.input_ids[~stays]
    assert moved.mean() > 0.8, "nearly every visible word stands elsewhere"


def test_a_permutation_is_a_function_of_the_sample():
    """The permutation of a sample is the same alone and among other samples (law 1)."""
    packed, together = corrupted(ShuffledContext(MASKING), Template())
    for row in range(4):
        _, alone = corrupted(ShuffledContext(MASKING), Template(), [row])
        assert np.array_equal(together.input_ids[packed.cu_seqlens[row] : packed.cu_seqlens[row + 1]], alone.input_ids)


@pytest.mark.parametrize("world_size", [2, 3])
def test_an_evaluation_is_shuffled_alike_at_every_world_size(write_samples, world_size):
    """The shuffled batches of all ranks are those of one rank, and the counts are those of the intact
    samples (law 3).
    """
    samples, shuffled = write_samples(30), ShuffledContext(EVALUATION)
    alone = [*evaluation_batches(samples, Template(), 4, 0, 1, 18, shuffled)]
    intact = [*evaluation_batches(samples, Template(), 4, 0, 1, 18)]
    ranks = [evaluation_batches(samples, Template(), 4, rank, world_size, 18, shuffled) for rank in range(world_size)]
    together = {batch.group: batch for batches in ranks for batch in batches if batch.weight}
    assert [batch.totals for batch in alone] == [batch.totals for batch in intact]
    for one in alone:
        assert np.array_equal(one.input_ids, together[one.group].input_ids)
        assert np.array_equal(one.targets["labels"], together[one.group].targets["labels"])
