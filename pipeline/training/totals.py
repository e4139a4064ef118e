"""Sums over micro-batches and ranks, and the averages and rates that are logged."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline.runlog.terms import Term
from pipeline.runtime import distributed

COUNTED = ("masked", "samples", "tokens", "flops", "nominal_flops")
"""What the host counts of each micro-batch, whatever the family."""


class Totals:
    """Sums over micro-batches. What the device computed stays there until `reduce`; nothing is copied to it."""

    def __init__(self, terms: Sequence[Term], device: torch.device) -> None:
        self.measured = measured(terms)
        self._measured = torch.zeros(len(self.measured), dtype=torch.float64, device=device)
        self._counted = dict.fromkeys(COUNTED, 0.0)

    def add(self, sums: Mapping[str, Tensor], counted: Mapping[str, float], weight: int = 1) -> None:
        """Add one micro-batch's sums, as `Output.sums`, and counts."""
        together = torch.stack([sums[name].detach().double() for name in self.measured])
        self._measured.add_(together, alpha=weight)
        self._counted = {name: total + weight * counted[name] for name, total in self._counted.items()}

    def merge(self, other: "Totals") -> None:
        """Add the sums of `other`, and empty it."""
        self._measured.add_(other._measured)
        self._counted = {name: total + other._counted[name] for name, total in self._counted.items()}
        other.clear()

    def sums(self) -> dict[str, float]:
        """Sums over all ranks so far; on all ranks together."""
        together = torch.cat([self._measured, self._measured.new_tensor([*self._counted.values()])])
        return dict(zip((*self.measured, *COUNTED), distributed.all_reduce_sum_(together).tolist(), strict=True))

    def restore(self, sums: Mapping[str, float]) -> None:
        """Begin with what `sums` gave; on one rank."""
        self._measured = self._measured.new_tensor([sums[name] for name in self.measured])
        self._counted = {name: sums[name] for name in COUNTED}

    def reduce(self) -> dict[str, float]:
        """Sums over all ranks since the last call."""
        sums = self.sums()
        self.clear()
        return sums

    def clear(self) -> None:
        """Begin with zeros."""
        self._measured.zero_()
        self._counted = dict.fromkeys(COUNTED, 0.0)


def measured(terms: Sequence[Term]) -> tuple[str, ...]:
    """Names of the sums that a model computes."""
    return tuple(name for term in terms for name in term.sums)


def averages(terms: Sequence[Term], sums: Mapping[str, float]) -> dict[str, float]:
    """Loss and accuracy of each term, and the total that is minimised; NaN where nothing was counted."""
    found: dict[str, float] = {}
    loss = 0.0
    for term in terms:
        count = sums[term.per] or math.nan
        found[f"{term.name}_loss"] = sums[f"{term.name}_loss"] / count
        loss += term.weight * found[f"{term.name}_loss"]
        if term.counted:
            found[f"{term.name}_accuracy"] = sums[f"{term.name}_correct"] / count
    return {"loss": loss} | found


def throughput(sums: Mapping[str, float], seconds: float, peak: float) -> dict[str, float]:
    """Real tokens and sequences per second over all ranks; and the share of the peak that they use.

    `mfu` counts the FLOPs of real tokens; `mfu_nominal` those that the same samples would take padded to the longest,
    which published figures often count. It may exceed 1.
    """
    rates = {"tokens_per_second": sums["tokens"] / seconds, "sequences_per_second": sums["samples"] / seconds}
    available = seconds * peak * distributed.world_size()
    return rates | {"mfu": sums["flops"] / available, "mfu_nominal": sums["nominal_flops"] / available}
