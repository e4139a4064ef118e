"""GLUE's files are read as they are distributed."""

import pytest

from benchmarks.downstream import cell
from benchmarks.glue import TASKS, Example, read_examples


def test_quotation_marks_are_text(tmp_path):
    """Each line is an example, even if a text has a single quotation mark, and columns are found by name."""
    path = tmp_path / "train.tsv"
    path.write_text('index\tsentence1\tsentence2\tlabel\n0\t"a b\tc\tnot_entailment\n1\td"\te\tentailment\n')
    expected = [Example(('"a b', "c"), 1), Example(('d"', "e"), 0)]
    assert read_examples(path, TASKS["RTE"]) == expected
    assert read_examples(path, TASKS["RTE"], most=1) == expected[:1]
    with pytest.raises(KeyError, match="sentence"):
        read_examples(path, TASKS["SST-2"])


def test_a_cell_has_median_and_range():
    """One failed seed does not move the median of a cell, and the range shows it."""
    assert cell([0.8, 0.5, 0.9]) == "0.800 (0.500 to 0.900)"
