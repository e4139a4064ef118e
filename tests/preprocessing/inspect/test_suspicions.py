"""Laws of preprocessing/inspect/suspicions.py: a normal corpus gives none, and each defect gives the one
that names it.
"""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from preprocessing.corpus.report import Tally
from preprocessing.inspect.overview import DocumentsFigures, Overview, SourceFigures, TokenizerFigures
from preprocessing.inspect.suspicions import suspicions
from preprocessing.tokenizer.normalization import Settings, Unreachable


def overview(samples=None, documents=None, unfinished=()):
    return Overview(Path("out"), documents, None, [samples] if samples else [], list(unfinished))


@pytest.fixture
def normal(make_random):
    """Samples of both splits without a defect, by name of the split."""
    return {"train": make_random(900), "heldout": make_random(60, 1)}


def test_a_normal_corpus_is_not_suspicious(figures_of, normal):
    """A normal corpus gives no suspicion, neither as pairs nor as single segments."""
    assert suspicions(overview(figures_of(**normal))) == []


def with_unknown(samples):
    return [
        ([1, *tokens[1:]], *rest) if number % 4 == 0 else (tokens, *rest)
        for number, (tokens, *rest) in enumerate(samples)
    ]


AILMENTS = {
    "unknown": (with_unknown, r"of the tokens are unknown, more than 1%: "),
    "special": (
        lambda samples: [([5, 4], 1, samples[0][2], 0), *samples],
        r"1 tokens are special ones such as \[MASK\]",
    ),
    "repeated": (lambda samples: samples[:300] + samples[:300], r"50\.0% of the samples repeat an earlier one"),
    "one token": (
        lambda samples: [([9] * 4 + tokens[4:], *rest) for tokens, *rest in samples if len(tokens) > 8],
        "'##p4' makes .*% of the text",
    ),
    "labels": (lambda samples: [(tokens, b, 0, d) for tokens, b, _, d in samples], "'B is random' holds for 0.0% of"),
    "vocabulary": (
        lambda samples: [([5 + t % 20 for t in tokens], *rest) for tokens, *rest in samples],
        "only 17% of the vo",
    ),
}


@pytest.mark.parametrize("name", AILMENTS)
def test_each_ailment_is_named(figures_of, normal, name):
    """Each defect gives one line with the directory, the split and the figure."""
    damage, message = AILMENTS[name]
    (found,) = suspicions(overview(figures_of(**normal | {"train": damage(normal["train"])})))
    assert found.startswith("samples, train: ") and re.search(message, found)


def test_what_ails_both_splits_is_told_once(figures_of, normal):
    """A defect of both splits is reported for training only, and a defect of held-out data alone for held-out data."""
    both = {split: with_unknown(samples) for split, samples in normal.items()}
    figures = figures_of(**both)
    assert [text[:15] for text in suspicions(overview(figures))] == ["samples, train:"]
    only = replace(figures, splits=[replace(figures.splits[0], unknown_id=119), figures.splits[1]])
    assert "samples, heldout: " in suspicions(overview(only))[-1]


def test_chance_is_no_suspicion(figures_of, make_random):
    """Few samples may all have the same label by chance, which gives no suspicion."""
    few = [(tokens, boundary, 1, document) for tokens, boundary, _, document in make_random(12, 5)]
    assert suspicions(overview(figures_of(make_random(600), few))) == []


@pytest.mark.parametrize(("segments", "is_usual"), [("nsp", True), ("sop", False)])
def test_the_usual_balance_depends_on_the_segments(figures_of, make_random, segments, is_usual):
    """A share of 60 % of label 1 is usual for nsp, where a single sentence makes a random pair, and not for sop."""
    samples = [(tokens, b, int(number % 10 < 6), d) for number, (tokens, b, _, d) in enumerate(make_random(2000))]
    found = suspicions(overview(figures_of(samples, make_random(20, 1), segments=segments)))
    assert (found == []) == is_usual


def test_repetition_on_purpose_is_not_suspicious(figures_of, normal):
    """Documents that training reads twice on purpose, by --duplicates or --weights, give no suspicion."""
    twice = normal["train"] + normal["train"]
    assert suspicions(overview(figures_of(twice, normal["heldout"], build={"duplicates": 2}))) == []


def test_an_empty_split_is_named(figures_of, make_random):
    """An empty split is named with its purpose."""
    assert suspicions(overview(figures_of(make_random(600), []))) == [
        "samples, heldout: no samples, so there is nothing to evaluate on (--heldout_share)"
    ]


def test_held_out_samples_in_train_are_named(figures_of, make_random):
    """Held-out samples that are also in training are named, since the loss on them means nothing."""
    (found,) = suspicions(overview(figures_of(make_random(600), make_random(600)[:50])))
    assert "of the held-out samples are also in train" in found


def test_a_source_without_tokens_is_named(figures_of, normal):
    """A source without tokens in training is named; held-out data may lack a small source."""
    figures = figures_of(**normal)

    def with_sources(split, sources):
        shard = replace(split.listed.shards[0], tokens_by_source=sources)
        return replace(split, listed=replace(split.listed, shards=(shard,)))

    train, heldout = figures.splits
    lacking = {"text:a": 9, "text:b": 0}
    for splits, count in (([with_sources(train, lacking), heldout], 1), ([train, with_sources(heldout, lacking)], 0)):
        found = suspicions(overview(replace(figures, splits=splits)))
        assert len(found) == count and all("no token comes from text:b" in text for text in found)


SOURCE = SourceFigures("text:a", 100, 10)


def documents(tally, sources=(SOURCE,)):
    return DocumentsFigures(Path("out/documents"), tally, 1, 100, 0, list(sources), {})


def test_documents_that_are_mostly_left_out_are_named():
    """Documents of which most are left out are named with the most frequent reason; a few are normal."""
    many = Tally(documents=400, left_out={"duplicate": 100, "in another language": 300})
    (found,) = suspicions(overview(documents=documents(many)))
    assert found.startswith("documents: 400 of 500 are left out (80%), most of them as 'in another language'")
    assert suspicions(overview(documents=documents(Tally(documents=110, left_out={"duplicate": 10})))) == []


def test_a_source_without_documents_and_unfinished_directories_are_named():
    """A source without documents and an unfinished directory are named."""
    sources = [SourceFigures("text:a", 100, 10), SourceFigures("text:b", 0, 0)]
    found = suspicions(overview(documents=documents(Tally(), sources=sources), unfinished=[Path("out/samples512")]))
    assert found == [
        "samples512: not finished; run the command that began it again",
        "documents: none comes from text:b: check the source",
    ]


def test_unreachable_tokens_are_named():
    """Unreachable tokens are named above a hundredth of the vocabulary, as where a cased one is used with lower-cased
    text.
    """

    def found(number):
        lost = Unreachable(1000, ["France"] * number, ["##!"] * 50)
        tokenizer = TokenizerFigures(Path("out/tokenizer"), 1005, {}, Settings(True, True), lost, [])
        return suspicions(Overview(Path("out"), None, tokenizer, [], []))

    assert found(10) == []
    assert found(11)[0].startswith(
        "tokenizer: 11 of 1,000 tokens never occur, as the normalizer changes them, such as "
    )
