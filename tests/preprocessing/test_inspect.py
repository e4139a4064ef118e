"""Laws of preprocessing/inspect.py."""

import pytest
from samples import make_samples

from preprocessing.errors import DataError
from preprocessing.inspect import inspect


def test_figures_are_those_of_the_data(tmp_path):
    """Samples, tokens, balance, unknown tokens, histogram and decoded pairs are all there."""
    text = inspect(make_samples(tmp_path / "samples", train=100, heldout=10), samples=2)
    assert "train: 100 samples" in text and "heldout: 10 samples" in text
    assert "B is random: 5" in text or "B is random: 4" in text
    assert "single segments: 0.0%" in text
    assert "unknown tokens: 0.000% of" in text
    assert text.count("sample ") == 4 and text.count("    A: w") + text.count("    A: p") + text.count("    A: ##") == 4
    shares = [float(line.split("tokens")[1].split("%")[0]) for line in text.splitlines() if " to " in line]
    assert len(shares) == 16 and abs(sum(shares) - 200) < 1


def test_single_segments_have_no_b_and_no_label(tmp_path):
    """What a strategy does not make is not shown; a strategy of a later version is an error."""
    directory = make_samples(tmp_path / "samples", train=100, heldout=10)
    manifest = (directory / "manifest.json").read_text()
    (directory / "manifest.json").write_text(manifest.replace('"segments": "nsp"', '"segments": "electra"'))
    text = inspect(directory)
    assert "is random" not in text and "sample 0, document 0\n" in text
    (directory / "manifest.json").write_text(manifest.replace('"segments": "nsp"', '"segments": "new"'))
    with pytest.raises(DataError, match="segments is 'new', this version knows nsp"):
        inspect(directory)


def test_an_unfinished_directory_is_an_error(tmp_path):
    """There is nothing to show without a manifest."""
    with pytest.raises(DataError, match=r"no manifest\.json"):
        inspect(tmp_path)
