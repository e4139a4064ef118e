"""Reports of skipped steps, whose gradients were infinite or NaN, and a limit on their number in a row.

DeepSpeed skips such a step on all ranks. A single one is harmless, and fp16's loss scaling causes some; many in a row
mean that the run has diverged or that its data is damaged.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.runlog.events import Events
from pipeline.runtime import distributed
from preprocessing.files import write_json


@dataclass(frozen=True)
class MicroBatchLoss:
    """A micro-batch of a step and its loss."""

    batch: Batch
    loss: Tensor
    """() share of the loss of the global batch, on the device."""


class SkippedSteps:
    """Writes RUN/skipped/step-NNNNNNNN.json for each skipped step, and ends a run that skips too many in a row."""

    def __init__(self, run: Path, most: int, events: Events) -> None:
        """Args:
        run: the run's directory.
        most: number of skipped steps in a row that ends the run.
        events: the run's events, which get one line for each skipped step.
        """
        self._run, self._most, self._events = run, most, events

    def report(self, step: int, in_a_row: int, losses: list[MicroBatchLoss]) -> None:
        """Write the report of a skipped step; all ranks call it together.

        Args:
            step: number of the step.
            in_a_row: skipped steps up to this one without another between them.
            losses: this rank's micro-batches of the step.

        Raises:
            FloatingPointError: `in_a_row` has reached `most` (on the main rank; PeerError on the others).
        """
        path = self._run / "skipped" / f"step-{step:08d}.json"
        found = sorted(entry for entries in distributed.gather_objects(entries_of(losses)) for entry in entries)
        culprits = [entry for entry in found if not math.isfinite(entry[1])] or found
        with distributed.together(f"write {path}"):
            if distributed.is_main():
                path.parent.mkdir(exist_ok=True)
                write_json(path, {"step": step, "micro_batches": [as_json(entry) for entry in culprits]})
                self._events.write("skipped_step", step=step, consecutive=in_a_row, file=str(path))
        with distributed.together("go on"):
            if in_a_row >= self._most:
                raise FloatingPointError(
                    f"{in_a_row} steps in a row, up to {step}, had infinite or NaN gradients and were skipped "
                    f"(engine.max_skipped_steps); {path} names the samples of the last one. Continue from the last "
                    "checkpoint with a lower optimizer.lr or a longer schedule.warmup_proportion"
                )


Entry = tuple[int, float, list[int], list[int]]
"""Number of a micro-batch in its global batch, its loss, its samples and their epochs."""


def entries_of(losses: list[MicroBatchLoss]) -> list[Entry]:
    """Return the entries of a report for this rank's micro-batches."""
    return [
        (micro.batch.group, micro.loss.item(), micro.batch.sample_ids.tolist(), micro.batch.epochs.tolist())
        for micro in losses
    ]


def as_json(entry: Entry) -> dict[str, object]:
    """Return an entry as JSON values; a loss that is not finite becomes text."""
    group, loss, samples, epochs = entry
    return {"group": group, "loss": loss if math.isfinite(loss) else str(loss), "samples": samples, "epochs": epochs}
