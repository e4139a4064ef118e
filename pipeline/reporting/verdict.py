"""The verdict on a run: sentences on what its model has learnt, and on its loss compared with a reference curve."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from itertools import takewhile
from typing import Any, NamedTuple

from pipeline.reporting.reference import Reference, shipped
from pipeline.runlog.floors import Floors, floors_event, floors_of
from pipeline.runlog.reader import Line, Run, is_number
from pipeline.runlog.terms import Term, masked_term, terms_of

TOLERANCE = 0.1
"""Difference of losses in nats that is not significant, between a model and a floor or two runs at the same step or
share of the steps. The floors have a standard error of 0.02 to 0.03 (some thousands of masked tokens), and a similar
error from smoothing."""
ORDER_GAP = 0.1
"""Order gap in nats from which on a model is said to use word order. It is several times the standard error for a model
that does not use word order, which is at most 0.02 on 128 samples of 128 tokens. A BERT that is on the plateau has a
gap below 0.01 (the demo's recipe with LAMB, docs/benchmarks.md)."""
FAR_BELOW = 0.3
"""Distance below the context floor in nats from which on the loss shows that a model uses word order, if the order gap
was not measured. The floor is that of a simple estimator; a better one without word order would be slightly below."""


class Stage(IntEnum):
    """Properties of text that a model uses for its predictions, in the order in which models learn to use them."""

    NOTHING = 0
    """The model does not use the frequencies of words yet."""
    WORDS = 1
    """The model uses the frequencies of words."""
    CONTEXT = 2
    """The model also uses the other words of the sample, without their order."""
    ORDER = 3
    """The model also uses the order of words."""


def stage_of(loss: float, gap: float | None, floors: Floors | None) -> Stage | None:
    """The stage of a model; None if it cannot be determined from floors and order gap.

    Args:
        loss: held-out masked-token loss in nats.
        gap: order gap in nats; None if it was not measured.
        floors: floors of the run; None if they were not computed.
    """
    if gap is not None and gap >= ORDER_GAP:
        return Stage.ORDER
    if floors is None:
        return None
    if loss > floors.unigram + TOLERANCE:
        return Stage.NOTHING
    if loss >= floors.unigram - TOLERANCE:
        return Stage.WORDS
    return Stage.ORDER if gap is None and loss < floors.context - FAR_BELOW else Stage.CONTEXT


def verdict(
    lines: Sequence[Line],
    events: Sequence[Mapping[str, Any]],
    reference: Reference | None = None,
    total_steps: int | None = None,
) -> list[str]:
    """Sentences on the latest evaluation of a run: its stage, and the comparison; none before the first evaluation.

    Args:
        lines: lines of metrics.jsonl in the order of their steps.
        events: events of the run, which contain its terms and floors.
        reference: reference curve of the recipe; None if there is none.
        total_steps: number of steps of the run; None if it is unknown.
    """
    term = masked_term(terms_of(events))
    if term is None:
        return []
    found = [_evaluation(line, term) for line in lines if line["kind"] == "heldout"]
    evaluations = [each for each in found if each is not None]
    if not evaluations:
        return []
    floors = floors_of(events)
    sentences = [_standing(evaluations, term, floors)]
    if reference is not None:
        samples = (floors_event(events) or {}).get("samples")
        sentences.append(_comparison(evaluations[-1], floors, samples, reference, total_steps))
    return [sentence for sentence in sentences if sentence]


def verdict_of(run: Run) -> list[str]:
    """The verdict on a run, compared with the shipped reference curve of its recipe if there is one."""
    return verdict(run.lines, run.events, shipped(run.recipe.get("name")), run.total_steps)


class _Evaluation(NamedTuple):
    step: int
    loss: float
    gap: float | None


def _evaluation(line: Line, term: Term) -> _Evaluation | None:
    loss, gap = line.get(f"{term.name}_loss"), line.get(term.order_gap)
    return _Evaluation(line["step"], loss, gap if is_number(gap) else None) if is_number(loss) else None  # type: ignore[arg-type]


def _standing(evaluations: Sequence[_Evaluation], term: Term, floors: Floors | None) -> str:
    """The sentences on the stage of the last evaluation; empty if the stage is unknown."""
    stages = [stage_of(each.loss, each.gap, floors) for each in evaluations]
    lasting = sum(1 for _ in takewhile(lambda stage: stage == stages[-1], reversed(stages)))
    since, (step, loss, gap) = evaluations[-lasting].step, evaluations[-1]
    its_loss = f"its held-out {term.title} loss, {loss:.2f},"
    its_gap = "its order gap was not measured" if gap is None else f"its order gap is {gap:.2f}"
    if stages[-1] == Stage.ORDER and gap is not None:
        return f"The model has used word order since step {since:,}: {its_gap}."
    if stages[-1] is None or floors is None:
        return ""
    unigram, context = f"the unigram floor, {floors.unigram:.2f}", f"the context floor, {floors.context:.2f}"
    match stages[-1]:
        case Stage.NOTHING:
            return f"The model has not learned the word counts yet: {its_loss} is above {unigram}."
        case Stage.WORDS:
            lasts = f" It has done so for {step - since:,} steps." if step > since else ""
            return f"The model uses word counts only: {its_loss} is within {TOLERANCE} of {unigram}.{lasts}"
        case Stage.CONTEXT if step > since:
            does = f"for {step - since:,} steps it has used surrounding words, but not their order"
            return f"The model is on the plateau: {does}. Compare {its_loss} with {context}; {its_gap}."
        case Stage.CONTEXT:
            uses = "surrounding words, but not their order"
            return f"The model uses {uses}: {its_loss} is below {unigram}, and {its_gap}."
        case _:
            below = f"{its_loss} is more than {FAR_BELOW} below {context}"
            return f"The model has used word order since step {since:,}: {below}."


def _comparison(
    latest: _Evaluation, floors: Floors | None, samples: object, reference: Reference, total_steps: int | None
) -> str:
    """The sentence on the reference curve; empty if the run cannot be compared with it.

    For the same samples the losses are compared, for others their distances from the unigram floors. Runs of different
    lengths are compared at the same share of their steps.
    """
    curve, name = reference.stretched(total_steps), f"the reference curve of recipe {reference.recipe}"
    theirs = curve.loss_at(latest.step)
    if theirs is None:
        return f"Step {latest.step:,} is after the end of {name}." if latest.step > curve.total_steps else ""
    shift = reference.shift(floors, samples)
    if shift is None:
        return ""
    better = theirs + shift - latest.loss
    figures = f"held-out loss {latest.loss:.2f} against {theirs:.2f}."
    if floors is not None and samples != reference.samples:
        ours, that = _place(latest.loss - floors.unigram), _place(theirs - reference.floors.unigram)
        figures = f"{ours} the unigram floor against {that}, as the samples differ."
    is_ = "as good as" if abs(better) <= TOLERANCE else "better than" if better > 0 else "worse than"
    step, length = f"step {latest.step:,}", f"{reference.total_steps:,} steps"
    if curve is not reference:
        step, length = f"{step} of {total_steps:,}", f"{length}, at the same share of them"
    return f"At {step} the model is {is_} {name} ({length}): {figures}"


def _place(distance: float) -> str:
    return f"{abs(distance):.2f} nats {'above' if distance > 0 else 'below'}"
