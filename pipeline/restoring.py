"""Where a run begins: at its newest sound checkpoint, at another run's, or at random weights."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import checkpoint, distributed
from pipeline.engine import Engine
from pipeline.events import Events
from pipeline.logs import LOG


class Restored(NamedTuple):
    """What a run begins with."""

    source: Path | None
    """The checkpoint that the weights are from; None for random ones."""
    state: dict[str, Any]
    """What the run's own checkpoint holds beside tensors; empty where the run is new."""


def restore(
    run: Path, init_from: Path | None, init_moments: bool, engine: Engine, samples: str, events: Events
) -> Restored:
    """Fill the engine from the run's newest sound checkpoint, or from `init_from`; on all ranks together.

    Args:
        run: the run's directory.
        init_from: checkpoint that a new run starts from.
        init_moments: whether a new run also takes its moments.
        engine: gets weights, moments and loss scale.
        samples: identity of the samples, which the run's checkpoints were trained on.
        events: is told of broken checkpoints.

    Raises:
        ValueError: no checkpoint of the run is sound, or the one to start from is not; or it is of another model, or
            was trained on other samples.
    """
    own = newest_sound(run, events)
    source = own or init_from
    if source is None:
        return Restored(None, {})
    if own is None:
        with distributed.together(f"verify {source}"):
            checkpoint.verify(source, (distributed.rank(), distributed.world_size()))
    with distributed.together(f"load {source}"):
        state = checkpoint.load(source, engine.shards, moments=own is not None or init_moments)
        if own and state["samples"] != samples:
            raise ValueError(
                f"{own} was trained on other samples than data.samples holds (another manifest.json); give the same "
                "samples, or start a new run with init_from"
            )
    engine.binding.push()
    if own is None:
        return Restored(source, {})
    engine.load_loss_scaler(state["loss_scaler"])
    return Restored(source, state)


def newest_sound(run: Path, events: Events) -> Path | None:
    """The newest checkpoint that is as it was written, None if there is none; the ranks share the reading.

    Raises:
        ValueError: there are checkpoints, and all are broken.
    """
    found = distributed.gather_objects(checkpoint.complete(run))[0]  # as the main rank sees the directory
    reasons = []
    for path in found:
        reason = what_is_wrong(path)
        if not reason:
            return path
        reasons.append(reason)
        LOG.warning(f"broken checkpoint: {reason}")
        events.write("broken_checkpoint", step=checkpoint.step_of(path), path=str(path), reason=reason)
        if distributed.is_main():
            print(f"warning: {reason}; trying the one before it", file=sys.stderr, flush=True)
    with distributed.together("find a sound checkpoint"):
        if reasons:
            raise ValueError(
                f"{run}: no checkpoint is sound ({reasons[0]}); remove {run / 'checkpoints'} to train from the start"
            )
    return None


def what_is_wrong(path: Path) -> str:
    """The first fault that any rank finds in its share of a checkpoint's files, empty if there is none."""
    fault = ""
    try:
        checkpoint.verify(path, (distributed.rank(), distributed.world_size()))
    except (ValueError, OSError) as error:
        fault = str(error)
    return next(filter(None, distributed.gather_objects(fault)), "")
