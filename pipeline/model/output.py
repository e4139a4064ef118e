"""The output of a model's forward pass."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

from torch import Tensor

from pipeline.losses.cross_entropy import RowSum
from pipeline.runlog.terms import Term


class Output(NamedTuple):
    """Contribution of a micro-batch to its global batch."""

    loss: Tensor
    """() share of the loss of the global batch, with gradients; the shares of all micro-batches add up to that loss."""
    sums: Mapping[str, Tensor]
    """() each, without gradients: for every term NAME, `NAME_loss` in nats and, if it is counted, `NAME_correct`."""


def combined(terms: Sequence[Term], found: Mapping[str, RowSum], totals: Mapping[str, int]) -> Output:
    """Return the output of a forward pass from the sums of its terms.

    Each term is a sum divided by a count of the *global* batch. Added over all micro-batches and ranks, however these
    divide it, the losses are therefore the loss of the global batch (law 3).

    Args:
        terms: terms of the family's loss.
        found: sums over this micro-batch by name of the term.
        totals: counts of the global batch.
    """
    shares = [found[term.name].loss / totals[term.per] for term in terms]
    weighted = [share if term.weight == 1 else share * term.weight for term, share in zip(terms, shares, strict=True)]
    sums = {f"{term.name}_loss": _reported(found[term.name]) for term in terms}
    sums |= {f"{term.name}_correct": found[term.name].correct for term in terms if term.counted}
    return Output(reduce(add, weighted), sums)


def _reported(rows: RowSum) -> Tensor:
    """Return the sum of cross entropies () without the z-loss, so that losses with and without one can be compared."""
    return rows.loss.detach() if rows.z_loss is None else rows.loss.detach() - rows.z_loss
