"""Real text for the tests of tokenizers, if the shared corpora are there."""

import gzip
import json
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[4] / "shared" / "data"
ODD = [
    'It\'s (quoted) "text" – £5 - 1,000,000.5 and 2,5',
    "naïve café Å ﬁ ½ ① ¨x ´ ˜",
    "emoji 😀👩‍👩‍👧 中文字 한국어 Straße İ",
    "soft\u00adhyphen a\u00a0b zero\u200bwidth \u0301x",
    "``x'' [MASK] <pad> [SEP] <s> a<mask> </s>",
    "they'll don't I'M 'tis it's 's",
    "x" * 300,
    "",
]
"""Text with one space between words, as in sentences."""


@pytest.fixture(scope="session")
def published():
    """The directory of published vocabularies."""
    if not SHARED.is_dir():
        pytest.skip("the shared corpora are not here")
    return SHARED / "vocab"


@pytest.fixture(scope="session")
def lines(published):
    """Some hundred lines of Wikipedia, and unusual ones, with single spaces."""
    with gzip.open(SHARED / "wikipedia_jsonl" / "wiki_en_sample.jsonl.gz", "rt") as file:
        texts = [json.loads(next(file))["text"] for _ in range(20)]
    return [" ".join(line.split()) for text in texts for line in text.split("\n") if line.strip()] + ODD
