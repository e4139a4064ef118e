"""Sums over micro-batches and ranks, and the averages and rates that are logged."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline.runlog.terms import Term
from pipeline.runtime import distributed

COUNTED = ("masked", "samples", "tokens", "flops", "nominal_flops")
"""Names of the counts of each micro-batch that are known on the host, the same for every family."""


class Totals:
    """Sums over micro-batches. Sums of device tensors stay on the device until `reduce`, and nothing is copied to
    it."""

    def __init__(self, terms: Sequence[Term], device: torch.device) -> None:
        self.measured = measured(terms)
        self._measured = torch.zeros(len(self.measured), dtype=torch.float64, device=device)
        self._counted = dict.fromkeys(COUNTED, 0.0)

    def add(self, sums: Mapping[str, Tensor], counted: Mapping[str, float], weight: int = 1) -> None:
        """Add the sums and counts of a micro-batch.

        Args:
            sums: `Output.sums`, () tensors on the device. One launch puts them together and one adds them; where their
                types differ, they are converted one by one.
            counted: number for each name of COUNTED.
            weight: factor of both; 0 for a batch that must not be counted.
        """
        together = torch.stack([sums[name].detach() for name in self.measured])
        self._measured.add_(together, alpha=weight)
        self._counted = {name: total + weight * counted[name] for name, total in self._counted.items()}

    def merge(self, other: "Totals") -> None:
        """Add the sums of `other`, and reset it to zero."""
        self._measured.add_(other._measured)
        self._counted = {name: total + other._counted[name] for name, total in self._counted.items()}
        other.clear()

    def sums(self) -> dict[str, float]:
        """Return the sums over all ranks so far; all ranks call it together."""
        together = torch.cat([self._measured, self._measured.new_tensor([*self._counted.values()])])
        return dict(zip((*self.measured, *COUNTED), distributed.all_reduce_sum_(together).tolist(), strict=True))

    def restore(self, sums: Mapping[str, float]) -> None:
        """Set the sums of this rank to those returned by `sums`; only one rank may call it."""
        self._measured = self._measured.new_tensor([sums[name] for name in self.measured])
        self._counted = {name: sums[name] for name in COUNTED}

    def reduce(self) -> dict[str, float]:
        """Return the sums over all ranks since the last call, and reset them to zero; all ranks call it together."""
        sums = self.sums()
        self.clear()
        return sums

    def clear(self) -> None:
        """Reset all sums to zero."""
        self._measured.zero_()
        self._counted = dict.fromkeys(COUNTED, 0.0)


def measured(terms: Sequence[Term]) -> tuple[str, ...]:
    """Return the names of the sums that a model computes."""
    return tuple(name for term in terms for name in term.sums)


def averages(terms: Sequence[Term], sums: Mapping[str, float]) -> dict[str, float]:
    """Return loss and accuracy of each term, and the weighted total that is minimised; NaN if nothing was counted.

    Args:
        terms: terms of the loss.
        sums: sums and counts over the same micro-batches.
    """
    found: dict[str, float] = {}
    loss = 0.0
    for term in terms:
        count = sums[term.per] or math.nan
        found[f"{term.name}_loss"] = sums[f"{term.name}_loss"] / count
        loss += term.weight * found[f"{term.name}_loss"]
        if term.counted:
            found[f"{term.name}_accuracy"] = sums[f"{term.name}_correct"] / count
    return {"loss": loss} | found


def order_gaps(terms: Sequence[Term], intact: Mapping[str, float], shuffled: Mapping[str, float]) -> dict[str, float]:
    """Return the order gap of each term that predicts masked tokens, in nats, as `NAME_order_gap`; NaN if nothing was
    counted.

    A term without an accuracy, such as the distance from a teacher, has none: shuffled words change the teacher too.

    Args:
        terms: terms of the loss.
        intact: sums and counts over some held-out samples.
        shuffled: the same with the context in random order (`pipeline.data.shuffling`).
    """
    before, after = averages(terms, intact), averages(terms, shuffled)
    return {
        term.order_gap: after[f"{term.name}_loss"] - before[f"{term.name}_loss"]
        for term in terms
        if term.per == "masked" and term.counted
    }


def throughput(sums: Mapping[str, float], seconds: float, peak: float) -> dict[str, float]:
    """Return tokens and sequences per second over all ranks, and the fraction of the peak FLOP/s that training uses.

    `mfu` counts the FLOPs of real tokens; `mfu_nominal` those of the same samples padded to the longest one, as many
    published figures do, so that it may exceed 1.

    Args:
        sums: counts over all ranks.
        seconds: time in which they were computed.
        peak: FLOP/s of one device.
    """
    rates = {"tokens_per_second": sums["tokens"] / seconds, "sequences_per_second": sums["samples"] / seconds}
    available = seconds * peak * distributed.world_size()
    return rates | {"mfu": sums["flops"] / available, "mfu_nominal": sums["nominal_flops"] / available}
