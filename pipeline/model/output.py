"""What a model's forward pass gives to the training loop."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

from torch import Tensor

from pipeline.losses.cross_entropy import RowSum
from pipeline.runlog.terms import Term


class Output(NamedTuple):
    """What a micro-batch contributes to its global batch."""

    loss: Tensor
    """() this micro-batch's share of the global loss, which carries gradients; the shares add up to it."""
    sums: Mapping[str, Tensor]
    """() each, without gradients: `NAME_loss`, a sum in nats, and `NAME_correct`, of every term."""


def combined(terms: Sequence[Term], found: Mapping[str, RowSum], totals: Mapping[str, int]) -> Output:
    """The output of a forward pass from the sums of its terms.

    Each term is its sum divided by a count of the *global* batch: added over all micro-batches and ranks, whatever the
    split, the losses are the global batch's loss (law 3).

    Args:
        terms: the family's.
        found: sums over this micro-batch by the name of the term.
        totals: counts of the global batch.
    """
    shares = [found[term.name].loss / totals[term.per] for term in terms]
    weighted = [share if term.weight == 1 else share * term.weight for term, share in zip(terms, shares, strict=True)]
    sums = {f"{term.name}_loss": found[term.name].loss.detach() for term in terms}
    sums |= {f"{term.name}_correct": found[term.name].correct for term in terms if term.counted}
    return Output(reduce(add, weighted), sums)
