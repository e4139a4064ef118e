"""Laws of preprocessing/options.py; those of each stage's own options are in the stage's tests."""

import pytest

from preprocessing.errors import DataError
from preprocessing.options import check_weights


def test_each_source_needs_a_weight():
    """Either each source has a weight or none has, and the error names the sources."""
    check_weights([], ["a", "b"])
    check_weights([1, 2], ["a", "b"])
    with pytest.raises(DataError, match=r"--weights has 1 numbers .* 2 sources \(jsonl:a, jsonl:b\)"):
        check_weights([1], ["jsonl:a", "jsonl:b"])
