"""Steps whose gradients were infinite or NaN: which samples they were made of, and when there were too many in a row.

DeepSpeed skips such a step whole on all ranks. One now and then is harmless, and fp16's loss scaling makes some; many
in a row mean that the run has diverged, or that its data is broken.
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
class Part:
    """A micro-batch of the step: enough to find it again."""

    batch: Batch
    loss: Tensor
    """Scalar, on the device."""


class SkippedSteps:
    """Counts them, and writes RUN/skipped/step-NNNNNNNN.json for each."""

    def __init__(self, run: Path, most: int, events: Events) -> None:
        """Args:
        run: the run's directory.
        most: how many in a row end the run.
        events: is told of each.
        """
        self._run, self._most, self._events = run, most, events
        self.in_a_row = 0

    def note(self, step: int, parts: list[Part]) -> None:
        """Take note of a skipped step; on all ranks together.

        Args:
            step: its number.
            parts: this rank's micro-batches of it.

        Raises:
            FloatingPointError: it is one too many (on the main rank; PeerError on the others).
        """
        self.in_a_row += 1
        path = self._run / "skipped" / f"step-{step:08d}.json"
        found = sorted(entry for entries in distributed.gather_objects(described(parts)) for entry in entries)
        culprits = [entry for entry in found if not math.isfinite(entry[1])] or found
        with distributed.together(f"write {path}"):
            if distributed.is_main():
                path.parent.mkdir(exist_ok=True)
                write_json(path, {"step": step, "micro_batches": [as_json(entry) for entry in culprits]})
                self._events.write("skipped_step", step=step, consecutive=self.in_a_row, file=str(path))
        with distributed.together("go on"):
            if self.in_a_row >= self._most:
                raise FloatingPointError(
                    f"{self.in_a_row} steps in a row, up to {step}, had infinite or NaN gradients and were skipped "
                    f"(engine.max_skipped_steps); {path} names the samples of the last one. Continue from the last "
                    "checkpoint with a lower optimizer.lr or a longer schedule.warmup_proportion"
                )


Entry = tuple[int, float, list[int], list[int]]
"""Number of the micro-batch in its global batch, its loss, its samples, their epochs."""


def described(parts: list[Part]) -> list[Entry]:
    """What a report says of this rank's micro-batches."""
    return [
        (part.batch.group, part.loss.item(), part.batch.sample_ids.tolist(), part.batch.epochs.tolist())
        for part in parts
    ]


def as_json(entry: Entry) -> dict[str, object]:
    """An entry of the report; a loss that JSON cannot hold becomes text."""
    group, loss, samples, epochs = entry
    return {"group": group, "loss": loss if math.isfinite(loss) else str(loss), "samples": samples, "epochs": epochs}
