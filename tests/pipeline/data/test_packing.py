"""Laws of pipeline/data/packing.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.packing import lengths, longest_sequence, pack
from pipeline.data.template import Template
from preprocessing.schema import Manifest

CLS, SEP = 2, 3
SPECIAL = {"cls": CLS, "sep": SEP}
ROBERTA = Template(pair=("cls", "A", "sep", "sep", "B", "sep"), segments=False, first_position=2)


def test_a_pair_is_packed_as_bert_reads_it():
    """Two hand-made pairs are packed as [CLS] A [SEP] B [SEP] with segment 0 up to the first [SEP] and positions from
    0.
    """
    tokens = [np.array([10, 11, 12], np.uint16), np.array([20, 21], np.uint16)]
    packed = pack(Template(), tokens, np.array([2, 1], np.uint16), SPECIAL)
    assert packed.input_ids.tolist() == [CLS, 10, 11, SEP, 12, SEP, CLS, 20, SEP, 21, SEP]
    assert packed.segment_ids.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1]
    assert packed.position_ids.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4]
    assert packed.cu_seqlens.tolist() == [0, 6, 11]
    assert packed.is_text.tolist() == [False, True, True, False, True, False, False, True, False, True, False]


def test_tokens_of_the_last_ids_survive():
    """Ids in the upper half of uint16, and ids that need uint32, are packed unchanged."""
    for dtype, top in ((np.uint16, 2**16 - 1), (np.uint32, 2**32 - 1)):
        packed = pack(Template(), [np.array([top - 1, top], dtype)], np.array([1], np.uint16), SPECIAL)
        assert packed.input_ids.tolist() == [CLS, top - 1, SEP, top, SEP]


def test_a_single_segment_and_a_pair_lie_side_by_side():
    """A boundary at the end means that there is no second segment; the template decides which tokens
    stand between two.
    """
    tokens = [np.array([10, 11], np.uint16), np.array([20, 21], np.uint16)]
    packed = pack(ROBERTA, tokens, np.array([2, 1], np.uint16), SPECIAL)
    assert packed.input_ids.tolist() == [CLS, 10, 11, SEP, CLS, 20, SEP, SEP, 21, SEP]
    assert packed.segment_ids.tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert packed.position_ids.tolist() == [2, 3, 4, 5, 2, 3, 4, 5, 6, 7]
    assert packed.cu_seqlens.tolist() == [0, 4, 10]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6), st.booleans())
def test_lengths_are_those_of_the_packed_samples(samples, is_roberta):
    """Lengths follow from token counts and boundaries alone (law 3), and each sample is its template with the text
    inserted.
    """
    template = ROBERTA if is_roberta else Template()
    tokens = [np.arange(10, 10 + count) for count, _ in samples]
    boundaries = np.array([min(count, boundary) for count, boundary in samples])
    packed = pack(template, tokens, boundaries, SPECIAL)
    sizes = lengths(template, np.array([len(sample) for sample in tokens]), boundaries)
    assert np.array_equal(np.diff(packed.cu_seqlens), sizes)
    for number, (sample, boundary) in enumerate(zip(tokens, boundaries, strict=True)):
        entries = template.pair if boundary < len(sample) else template.single
        parts = {"A": sample[:boundary].tolist(), "B": sample[boundary:].tolist(), "cls": [CLS], "sep": [SEP]}
        rows = slice(packed.cu_seqlens[number], packed.cu_seqlens[number + 1])
        assert packed.input_ids[rows].tolist() == [token for entry in entries for token in parts[entry]]
        text = [entry in ("A", "B") for entry in entries for _ in parts[entry]]
        assert packed.is_text[rows].tolist() == text


@pytest.mark.parametrize(
    ("template", "segments", "longest"),
    [(Template(), "nsp", 128), (ROBERTA, "sop", 129), (ROBERTA, "full_sentences", 128), (Template(), "blocks", 128)],
)
def test_the_longest_sequence_has_the_special_tokens_of_the_template(template, segments, longest):
    """Samples are built for three special tokens in a pair; a template with four gives longer sequences."""
    assert longest_sequence(Manifest(100, 128, segments, "", {}, {}), template) == longest
