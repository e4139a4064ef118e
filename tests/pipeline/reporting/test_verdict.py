"""Laws of pipeline/reporting/verdict.py, on curves of known runs."""

from dataclasses import asdict

import pytest

from pipeline.reporting.reference import Point, Reference
from pipeline.reporting.verdict import Stage, stage_of, verdict
from pipeline.runlog.floors import Floors
from pipeline.runlog.terms import Term
from tests.made_runs import event, start

FLOORS = Floors(unigram=6.09, unigram_accuracy=0.21, context=5.42)
"""Floors of English Wikipedia with the published vocabulary and 128 tokens."""
PLATEAU = {0: 10.39, 250: 6.11, 500: 5.77, 750: 5.64, 1000: 5.56, 1250: 5.51, 1500: 5.49}
"""Losses of bert_mini with LAMB by step (docs/benchmarks.md); after 1,500 steps it predicts frequent words."""
LEARNING = {100: 5.77, 200: 5.32, 500: 4.74, 1000: 4.29, 1500: 4.08}
"""Losses of bert_mini by step if its first layers attend to neighbours from the first step."""
REFERENCE = Reference(
    "demo",
    "2026-11-26",
    "2 x cpu, fp32",
    "text",
    "abc",
    1500,
    FLOORS,
    [Point(step, loss, 0.3) for step, loss in LEARNING.items()],
)


def lines(losses, gaps=None):
    """Return evaluations with these losses by step, and order gaps."""
    found = [event("heldout", step, mlm_loss=loss, mlm_accuracy=0.1) for step, loss in losses.items()]
    return [line | ({"mlm_order_gap": gaps[line["step"]]} if gaps else {}) for line in found]


def events(floors=FLOORS, samples="abc"):
    return [start(0), event("floors", 0, **asdict(floors), samples=samples)]


def judged(losses, gaps=None, told=None):
    return " ".join(verdict(lines(losses, gaps), events() if told is None else told))


def until(step, curve):
    return {each: loss for each, loss in curve.items() if each <= step}


@pytest.mark.parametrize(
    ("loss", "gap", "stage"),
    [
        (10.39, 0.0, Stage.NOTHING),
        (6.20, 0.0, Stage.NOTHING),
        (6.18, 0.0, Stage.WORDS),
        (6.00, 0.0, Stage.WORDS),
        (5.98, 0.0, Stage.CONTEXT),
        (5.98, 0.1, Stage.ORDER),
        (4.08, 0.0, Stage.CONTEXT),
        (5.13, None, Stage.CONTEXT),
        (5.11, None, Stage.ORDER),
    ],
)
def test_stages(loss, gap, stage):
    """The order gap decides whether a model uses order; only where it was not measured, the loss does."""
    assert stage_of(loss, gap, FLOORS) == stage


def test_what_is_not_known_without_floors():
    """Without floors, an order gap still shows the use of order, and otherwise the verdict is empty."""
    assert stage_of(5.0, 0.5, None) == Stage.ORDER and stage_of(5.0, 0.0, None) is None
    assert judged({100: 5.0}, {100: 0.0}, [start(0)]) == ""
    assert judged({100: 5.0}, {100: 0.5}, [start(0)]) == (
        "The model has used word order since step 100: its order gap is 0.50."
    )


def test_the_plateau_of_a_known_run():
    """Each evaluation before and on the plateau of a known run has its verdict; the plateau has its length."""
    gaps = dict.fromkeys(PLATEAU, 0.002)
    assert judged(until(0, PLATEAU), gaps) == (
        "The model has not learned the word counts yet: its held-out masked-token loss, 10.39, is above the unigram "
        "floor, 6.09."
    )
    assert judged(until(250, PLATEAU), gaps) == (
        "The model uses word counts only: its held-out masked-token loss, 6.11, is within 0.1 of the unigram floor, "
        "6.09."
    )
    assert judged(until(500, PLATEAU), gaps) == (
        "The model uses surrounding words, but not their order: its held-out masked-token loss, 5.77, is below the "
        "unigram floor, 6.09, and its order gap is 0.00."
    )
    assert judged(PLATEAU, gaps) == (
        "The model is on the plateau: for 1,000 steps it has used surrounding words, but not their order. Compare its "
        "held-out masked-token loss, 5.49, with the context floor, 5.42; its order gap is 0.00."
    )
    assert "on the plateau: for 1,000 steps" in judged(PLATEAU) and "was not measured" in judged(PLATEAU)


def test_the_plateau_is_left():
    """The order gap shows that the model has left the plateau earlier than the loss does."""
    gaps = {100: 0.05, 200: 0.31, 500: 0.9, 1000: 1.5, 1500: 1.8}
    assert judged(LEARNING, gaps) == "The model has used word order since step 200: its order gap is 1.80."
    assert "has used word order since step 500: its held-out masked-token loss, 4.08, is more" in judged(LEARNING)
    again = judged(LEARNING, gaps | {1500: 0.0})
    assert again.startswith("The model uses surrounding words, but not their order"), "a later fall counts anew"


def test_word_counts_for_some_time():
    """The verdict states for how many steps the stage has lasted."""
    assert judged({0: 9.0, 200: 6.1, 400: 6.05, 600: 6.02}).endswith("6.09. It has done so for 400 steps.")


OTHER = "{} the unigram floor against 1.80 nats below, as the samples differ."


@pytest.mark.parametrize(
    ("loss", "samples", "unigram", "is_", "figures"),
    [
        (4.35, "abc", 6.09, "as good as", "held-out loss 4.35 against 4.29."),
        (4.18, "abc", 6.09, "better than", "held-out loss 4.18 against 4.29."),
        (5.56, "abc", 7.00, "worse than", "held-out loss 5.56 against 4.29."),
        (5.20, "other", 7.00, "as good as", OTHER.format("1.80 nats below")),
        (7.05, "other", 7.00, "worse than", OTHER.format("0.05 nats above")),
        (5.40, "other", 7.00, "worse than", OTHER.format("1.60 nats below")),
    ],
)
def test_the_reference_curve(loss, samples, unigram, is_, figures):
    """On the same samples, losses are compared with the reference curve; on others, distances to the unigram floors
    are.
    """
    told = events(Floors(unigram, 0.2, unigram - 0.7), samples)
    name = "the reference curve of recipe demo (1,500 steps)"
    assert verdict(lines({1000: loss}), told, REFERENCE)[1] == f"At step 1,000 the model is {is_} {name}: {figures}"


def test_runs_of_other_lengths_are_compared_at_equal_shares():
    """A run of a third of the steps, whose learning rate falls three times as fast, has at step 500 the loss at step
    1,500 beside it, and at step 100 that at step 300. At the same length the sentence names the step alone.
    """
    name = "the reference curve of recipe demo"
    for total, step, theirs in ((500, 500, 4.08), (500, 100, 5.13), (3000, 2000, 4.29)):
        told = verdict(lines({step: theirs}), events(), REFERENCE, total)[-1]
        assert told == (
            f"At step {step:,} of {total:,} the model is as good as {name} (1,500 steps, at the same share of them): "
            f"held-out loss {theirs:.2f} against {theirs:.2f}."
        )
    same = verdict(lines({1000: 4.29}), events(), REFERENCE, 1500)[1]
    assert same == f"At step 1,000 the model is as good as {name} (1,500 steps): held-out loss 4.29 against 4.29."


def test_steps_that_cannot_be_compared():
    """Before the first evaluation of the reference there is no comparison, and after its end the verdict says that it
    has ended.
    """
    assert len(verdict(lines({50: 6.0}), events(), REFERENCE)) == 1
    late = verdict(lines({1600: 4.0}), events(), REFERENCE)
    assert late[1] == "Step 1,600 is after the end of the reference curve of recipe demo."
    assert verdict(lines({100: 6.0}), [start(0)], REFERENCE) == [], "other samples, perhaps, and no floors"


def test_runs_without_what_a_verdict_needs():
    """Runs without an evaluation, without a finite one, or without a term per masked token have no verdict."""
    assert verdict([], events(), REFERENCE) == []
    assert verdict([event("heldout", 5, mlm_loss=None), event("train", 5, mlm_loss=5.0)], events()) == []
    other = [start(0, terms=[asdict(Term("rtd", "replaced-token", "tokens"))]), *events()[1:]]
    assert verdict(lines({100: 5.0}), other) == []
