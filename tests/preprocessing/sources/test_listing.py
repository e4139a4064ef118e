"""Laws of preprocessing/sources/listing.py."""

import glob
from pathlib import Path

import pytest

from preprocessing.sources.listing import matching

FILES = ["a.txt", "b.md", "[c].txt", ".hidden.txt", "x/a.txt", "x/.y/a.txt", "x/z/w/a.txt", ".git/a.txt", "x/z/.a"]
PATTERNS = ["*", "*.txt", "*/*", "**", "**/*.txt", "**/a.txt", "x/**", "**/z/**", "x/*/w/?.txt", "[ab].*", "[[]c].txt"]
PATTERNS += [".*", "**/.y/*", "x/../*.txt", "no/*", "a.txt/*", "**/**/a.txt", "*/a.txt", "x*/**/w"]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("is_relative", [False, True])
def test_a_pattern_means_what_it_means_to_glob(tmp_path, monkeypatch, pattern, is_relative):
    """Without links and unreadable directories, a pattern matches as in `glob`, which for `x/**` also returns x."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    place = Path(pattern) if is_relative else tmp_path / pattern
    expected = {Path(path) for path in glob.glob(str(place), recursive=True)}
    if pattern.endswith("**"):
        expected -= {Path(path) for path in glob.glob(str(place.parent), recursive=True)}
    found = matching(place)
    assert len(set(found)) == len(found) and set(found) - {Path()} == expected - {Path()}
