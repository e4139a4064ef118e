"""Evaluation on held-out samples: losses, accuracies and the order gap."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager

import torch

from pipeline.data.batch import Batch
from pipeline.engine.engine import Engine
from pipeline.runlog.terms import Term
from pipeline.runtime import faults
from pipeline.training.supervision import Supervisor
from pipeline.training.totals import Totals, averages, order_gaps

Batches = Callable[[], Iterable[Batch]]
"""Returns this rank's micro-batches of one pass, anew at each call."""


class Evaluation:
    """The held-out samples of a run, and the functions that measure a model on them."""

    def __init__(
        self,
        engine: Engine,
        terms: tuple[Term, ...],
        count: Callable[[Batch], Mapping[str, float]],
        heldout: Batches,
        order_gap: tuple[Batches, ...] = (),
    ) -> None:
        """Args:
        engine: the model.
        terms: terms of the loss.
        count: micro-batch -> its counts, as `Totals` adds them.
        heldout: the held-out micro-batches.
        order_gap: those of the order gap, intact and with shuffled context; empty: no order gap.
        """
        self.engine, self.terms, self.count = engine, terms, count
        self.passes = (heldout, *order_gap)

    @torch.no_grad()
    def figures(
        self, supervisor: Supervisor, all_leaving: Callable[[], AbstractContextManager[None]]
    ) -> tuple[dict[str, float], str]:
        """Return the figures of the model, and the name of a stop signal received between two batches.

        The figures are empty if a signal interrupted the evaluation. The ranks exchange errors before each batch.

        Args:
            supervisor: exchanges stop signals and errors with the other ranks.
            all_leaving: context in which all ranks raise the error of any rank.
        """
        sums, stop = [], ""
        self.engine.deepspeed.eval()
        for batches in self.passes:
            if not stop:
                totals, is_complete, stop = self._pass(iter(batches()), supervisor, all_leaving)
                sums += [totals.reduce()] if is_complete else []
        self.engine.deepspeed.train()
        if len(sums) < len(self.passes):
            return {}, stop
        return averages(self.terms, sums[0]) | (order_gaps(self.terms, *sums[1:]) if sums[1:] else {}), stop

    def _pass(
        self,
        batches: Iterator[Batch],
        supervisor: Supervisor,
        all_leaving: Callable[[], AbstractContextManager[None]],
    ) -> tuple[Totals, bool, str]:
        """Return the sums of this rank's batches, whether all were computed, and the name of a stop signal."""
        totals = Totals(self.terms, self.engine.device)
        while True:
            supervisor.beat("evaluating")
            batch = None
            with supervisor.noting_errors():
                faults.reach("held-out batch")
                batch = next(batches, None)
            with all_leaving():
                stop = supervisor.agree()
            if batch is None or stop:
                return totals, batch is None, stop
            output = self.engine.forward(batch.to(self.engine.device, non_blocking=True))
            totals.add(output.sums, self.count(batch), weight=batch.weight)
