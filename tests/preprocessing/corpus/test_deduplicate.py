"""Laws of preprocessing/corpus/deduplicate.py."""

import json
import random

import numpy as np
import pytest

from preprocessing.corpus.corpus import Corpus
from preprocessing.corpus.deduplicate import signature
from preprocessing.filters import DUPLICATE, NEAR_DUPLICATE, FilterConfig
from preprocessing.stages.extract import ExtractConfig, extract
from preprocessing.workers import SerialExecutor

WORDS = [f"word{number}" for number in range(2000)]


def text(seed, changed=0):
    """Return 300 words in 30 sentences, the last `changed` of them others."""
    chosen, other = random.Random(seed), random.Random(seed + 10**6)
    words = [chosen.choice(WORDS) for _ in range(300 - changed)] + [other.choice(WORDS) for _ in range(changed)]
    return " ".join(" ".join(words[i : i + 10]).capitalize() + "." for i in range(0, 300, 10))


def extracted(tmp_path, texts, name="out", **options):
    source = tmp_path / f"{name}.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    config = ExtractConfig([f"jsonl:{source}"], heldout_share=0.2, split_mb=0.003, partition_mb=0.02)
    directory = tmp_path / name
    extract(directory, config, FilterConfig(**options), SerialExecutor())
    report = json.loads((directory / "report.json").read_text())
    return Corpus.open(directory), report["left_out"]


def documents(corpus):
    return sorted(" ".join(d) for p in range(len(corpus.partitioning)) for d in corpus.read(p).to_pylist())


TEXTS = [text(seed) for seed in range(40)]


def test_equal_documents_are_read_once(tmp_path):
    """A corpus with repetitions, wherever they stand, is read as one without, and the report counts them."""
    repeated = [*TEXTS[:20], *TEXTS, *TEXTS[5:9]]
    corpus, left_out = extracted(tmp_path, repeated)
    assert documents(corpus) == sorted(TEXTS)
    assert sum(corpus.counts) == len(TEXTS) and sum(corpus.stored_counts) == len(repeated)
    assert left_out == {DUPLICATE: 24}
    corpus.verify()


def test_keeping_duplicates_keeps_all(tmp_path):
    """With deduplicate = no every document is kept."""
    corpus, left_out = extracted(tmp_path, TEXTS * 2, deduplicate="no")
    assert documents(corpus) == sorted(TEXTS * 2) and left_out == {}


def test_near_duplicates_are_dropped_across_partitions(tmp_path):
    """Of two documents that differ in a thirtieth of the words one is dropped, and of two that differ in half of them
    none.
    """
    near, far = [text(seed, changed=10) for seed in range(40)], [text(seed, changed=150) for seed in range(40)]
    corpus, left_out = extracted(tmp_path, [*TEXTS, *near, *far, *TEXTS[:3]], deduplicate="near")
    assert left_out == {DUPLICATE: 3, NEAR_DUPLICATE: 40}
    found = documents(corpus)
    assert set(far) <= set(found)
    assert [(a in found) + (b in found) for a, b in zip(TEXTS, near, strict=True)] == [1] * 40


def test_signatures_estimate_the_share_of_common_5_grams():
    """The share of equal places of two signatures is the Jaccard coefficient to within MinHash's standard error."""

    def shingles(words):
        return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}

    for changed in (0, 20, 60, 150, 300):
        one, other = text(1), text(1, changed)
        a, b = shingles(one.lower().split()), shingles(other.lower().split())
        exact = len(a & b) / len(a | b)
        values, others = (np.frombuffer(signature(each), np.uint32) for each in (one, other))
        assert (values == others).mean() == pytest.approx(exact, abs=4 * (0.25 / 128) ** 0.5)


def test_short_texts_have_a_signature():
    """Texts of fewer than five words, and empty texts, have a signature."""
    assert len(signature("two words")) == len(signature("")) == 512
