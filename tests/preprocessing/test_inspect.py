"""Laws of preprocessing/inspect.py."""

import pytest
from samples import make_samples

from preprocessing.errors import DataError
from preprocessing.inspect import inspect


def test_figures_are_those_of_the_data(tmp_path):
    """Samples, tokens, balance, unknown tokens, histogram and decoded pairs are all there."""
    text = inspect(make_samples(tmp_path / "samples", train=100, heldout=10), samples=2)
    assert "train: 100 samples" in text and "heldout: 10 samples" in text
    assert "random next: 5" in text or "random next: 4" in text
    assert "unknown tokens: 0.000% of" in text
    assert text.count("sample ") == 4 and text.count("    A: w") + text.count("    A: p") + text.count("    A: ##") == 4
    shares = [float(line.split("tokens")[1].split("%")[0]) for line in text.splitlines() if " to " in line]
    assert len(shares) == 16 and abs(sum(shares) - 200) < 1


def test_an_unfinished_directory_is_an_error(tmp_path):
    """There is nothing to show without a manifest."""
    with pytest.raises(DataError, match=r"no manifest\.json"):
        inspect(tmp_path)
