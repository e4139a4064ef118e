"""`pipeline.pretrain` with a list of the places at which the host waits for the device in its last step.

python -m benchmarks.gpu.waits FILE.json [OPTIONS of pipeline.pretrain]
"""

import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch

from pipeline.pretrain import pretrain
from pipeline.training.skipped import MicroBatchLoss
from pipeline.training.trainer import Trainer
from preprocessing.files import write_text

ROOT = Path(__file__).resolve().parents[2]
MISSING = "needs a GPU"


@contextmanager
def synchronisations(on_gpu: bool) -> Iterator[dict[str, int | str]]:
    """Yield a dictionary that has, after the block, the number of the block's synchronisations by place, as torch's
    debug mode reports them, or `missing` where there is no GPU."""
    found: dict[str, int | str] = {}
    if not on_gpu:
        yield found
        found["missing"] = MISSING
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = Counter(f"{warning.filename.removeprefix(f'{ROOT}/')}:{warning.lineno}" for warning in caught)
    found.update(places.most_common())


def main(out: Path, arguments: list[str]) -> None:
    """Train, and write the places of the last step.

    Raises:
        Exception: as `pipeline.pretrain`.
    """
    plain = Trainer.train_step

    def watched(trainer: Trainer) -> tuple[list[MicroBatchLoss], bool]:
        if trainer.state.step + 1 < trainer.config.total_steps:
            return plain(trainer)
        with synchronisations(trainer.engine.device.type == "cuda") as places:
            result = plain(trainer)
        write_text(out, json.dumps(places) + "\n")
        return result

    with mock.patch.object(Trainer, "train_step", watched):
        pretrain(arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
