"""Restoring of a run from its newest sound checkpoint, from another run's checkpoint, or from random weights.

Events and metrics distinguish a new run from one that has lost its checkpoints, because a missing directory alone does
not. A new run starts; a run without its checkpoints is an error until `restart_from_scratch` is given.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.record import DamagedError, check_run_state
from pipeline.config import defaults
from pipeline.data.vocabularies import check_same_vocabulary
from pipeline.engine.engine import Engine
from pipeline.jobs.identity import check_same_model, check_same_recipe, differences
from pipeline.optim.shards import Shard
from pipeline.runlog import reader
from pipeline.runlog.events import Events
from pipeline.runlog.terms import Term
from pipeline.runtime import distributed
from pipeline.runtime.logger import LOG
from pipeline.training.totals import COUNTED, measured
from preprocessing.shards import SampleDataset


@dataclass(frozen=True)
class Request:
    """Inputs that determine from where a run starts."""

    run: Path
    """The run's directory."""
    recipe: Mapping[str, Any]
    """The recipe as nested plain values, as in state.json."""
    init_from: Path | None
    """Checkpoint that a new run starts from."""
    samples: SampleDataset
    """The training split."""
    samples_id: str
    """Checksum that identifies the samples; the run's checkpoints must have the same one."""
    terms: tuple[Term, ...]
    """The terms of the family's loss."""
    consumed_samples: Callable[[int], int]
    """Number of steps -> samples that they consume."""


class Restored(NamedTuple):
    """Starting point of a run."""

    source: Path | None
    """Checkpoint from which the weights were loaded; None for random weights."""
    state: dict[str, Any]
    """Content of state.json of the run's own checkpoint; empty for a new run."""


def restore(request: Request, engine: Engine, events: Events) -> Restored:
    """Load the engine from the run's newest sound checkpoint, or from `init_from`; all ranks call it together.

    Args:
        request: the run, its recipe and its samples.
        engine: receives weights, moments and loss scale.
        events: the run's events, which get one line for each damaged checkpoint.

    Raises:
        ValueError: no checkpoint of the run is sound, the run has lost its checkpoints, or the checkpoint is damaged or
            has another recipe, model, vocabulary or other samples.
        OSError: a checkpoint cannot be read.
    """
    own, broken = newest_sound(request, events)
    begins_anew = False
    with distributed.together("find where the run stands"):
        if distributed.is_main():
            begins_anew = loses_steps(request, own, broken, events)
    source = own or request.init_from
    state: dict[str, Any] = {}
    if own is not None:
        state = _load_own(own, request, engine)
    elif source is not None:
        _load_initial(source, request, engine)
    with distributed.together("put damaged checkpoints aside"):
        if distributed.is_main():
            _put_aside(request.run, broken, begins_anew)
    return Restored(source, state)


def _load_own(own: Path, request: Request, engine: Engine) -> dict[str, Any]:
    with distributed.together(f"load {own}"):
        state = checkpoint.read_state(own)
        check_same_recipe(own, state["recipe"], request.recipe, defaults(request.recipe["family"]))
        if state["samples"] != request.samples_id:
            raise ValueError(
                f"{own} was trained on other samples than data.samples = {request.samples.directory} holds (another "
                "manifest.json); give the same samples, or start a new run with init_from"
            )
        checkpoint.load_shards(own, engine.shards, moments=True, average=True)
    engine.binding.push()
    engine.load_loss_scaler(state["loss_scaler"])
    return state


def _load_initial(source: Path, request: Request, engine: Engine) -> None:
    with distributed.together(f"verify {source}"):
        checkpoint.verify(source, (distributed.rank(), distributed.world_size()))
    with distributed.together(f"load {source}"):
        state, recipe, samples = checkpoint.read_state(source), request.recipe, request.samples
        check_same_vocabulary(
            source, state["vocab_size"], samples.directory, samples.tokenizer_dir, samples.manifest.vocab_size
        )
        check_same_model(source, state, recipe["family"], recipe["model"])
        moments = recipe["init_moments"] and checkpoint.Reader(source).has("exp_avg")
        if moments:
            check_moments(source, engine.shards, recipe["optimizer"]["name"])
        checkpoint.load_shards(source, engine.shards, moments=moments)
    engine.binding.push()


def check_moments(source: Path, shards: Iterable[Shard], optimizer: str) -> None:
    """Check that a checkpoint has all moments of an optimizer; what it has beyond them is not read.

    Muon has no second moment of the matrices of layers. Its momentum, and the first moments of LAMB and AdamW, are all
    running means of the gradient, so that each can start from the others'.

    Args:
        source: the checkpoint, which has moments.
        shards: of this rank.
        optimizer: `optimizer.name` of the recipe, for the message.

    Raises:
        ValueError: a moment is not there.
    """
    found = checkpoint.Reader(source)
    for part, name in ((part, name) for shard in shards for part in shard.moments for name in shard.names):
        if not found.has(part, name):
            raise ValueError(
                f"init_moments = true: init_from = {source} has no {part} of {name}, which optimizer.name = "
                f"{optimizer} needs; set init_moments to false"
            )


def newest_sound(request: Request, events: Events) -> tuple[Path | None, dict[Path, str]]:
    """Return the newest sound checkpoint, and the damage of each newer one; the ranks share the reading.

    Raises:
        ValueError: a checkpoint has another format version.
        OSError: a checkpoint cannot be read, so that it is unknown whether it is sound.
    """
    with distributed.together("list the checkpoints"):
        found = checkpoint.present(request.run)
    found = distributed.gather_objects(found)[0]  # as the main rank sees the directory
    broken: dict[Path, str] = {}
    for path in found:
        reason = what_is_wrong(path, request)
        if not reason:
            return path, broken
        broken[path] = reason
        LOG.warning(f"broken checkpoint: {reason}")
        events.write("broken_checkpoint", step=checkpoint.step_of(path), path=str(path), reason=reason)
        _warn(reason + ("; trying the one before it" if path != found[-1] else ""))
    return None, broken


def what_is_wrong(path: Path, request: Request) -> str:
    """Return the first damage that any rank finds in its share of a checkpoint's files; empty if there is none.

    Args:
        path: directory of the checkpoint.
        request: the run, its recipe and the terms of its loss.

    Raises:
        ValueError: the checkpoint has another format version.
        OSError: a file cannot be read.
    """
    damage = ""
    with distributed.together(f"read {path}"):
        try:
            checkpoint.verify(path, (distributed.rank(), distributed.world_size()))
            state = check_run_state(path, request.recipe["schedule"]["total_steps"])
            interval, sums = state.get("interval"), (*measured(request.terms), *COUNTED)
            if lacking := [name for name in sums if interval and name not in interval]:
                raise DamagedError(path / "state.json", f"interval lacks {lacking[0]}: damaged")
            check_position(path, state, request)
        except DamagedError as error:
            damage = str(error)
    return next(filter(None, distributed.gather_objects(damage)), "")


def check_position(path: Path, state: Mapping[str, Any], request: Request) -> None:
    """Check that a checkpoint's position in the data is that of its step, if the recipe is the run's.

    Raises:
        DamagedError: it is another one.
    """
    step, consumed, recipe = state["step"], state["consumed_samples"], request.recipe
    is_same = not differences(state["recipe"], recipe, defaults(recipe["family"]))
    if is_same and consumed != (right := request.consumed_samples(step)):
        what = f"consumed_samples = {consumed} after {step} steps, which consume {right}: damaged"
        raise DamagedError(path / "state.json", what)


def loses_steps(request: Request, own: Path | None, broken: Mapping[Path, str], events: Events) -> bool:
    """Return whether a run that had checkpoints restarts from scratch; warn if it continues from an earlier one.

    Raises:
        ValueError: the run had checkpoints, none is sound, and `restart_from_scratch` is not set.
    """
    run, remedy = request.run, "to train from the start, give --restart_from_scratch true"
    recorded, evidence = recorded_step(run, request.recipe["checkpoint"]["every"], events.reached)
    if own is not None:
        if max(map(checkpoint.step_of, [own, *broken])) < recorded:
            _warn(f"{run}: {evidence}, which is gone; continuing at step {checkpoint.step_of(own)}")
        return False
    if (broken or recorded) and not request.recipe["restart_from_scratch"]:
        if broken:
            reason = next(iter(broken.values())).partition(";")[0]
            raise ValueError(f"{run}: no checkpoint is sound ({reason}); put one back from a copy or, {remedy}")
        raise ValueError(f"{run}: {evidence}, but no checkpoint is there; put the checkpoints back or, {remedy}")
    return bool(broken or recorded)


def recorded_step(run: Path, every: int, reached: Mapping[str, Any]) -> tuple[int, str]:
    """Return the step of the newest checkpoint that the run's records mention, and the evidence; 0 if there is none.

    A run that was killed before its first checkpoint has events and metrics, but no event of a checkpoint.

    Args:
        run: the run's directory.
        every: steps between checkpoints.
        reached: step and time of the heartbeat when this attempt began (`Events.reached`).
    """
    events, damaged = reader.read_lines(run / reader.EVENTS)
    step = 0
    for event in events:
        if event["kind"] == "start":
            step = event["step"]
        elif event["kind"] in ("checkpoint", "interrupted", "finished"):  # all of them follow a save
            step = max(step, event["step"])
    if step:
        return step, f"{reader.EVENTS} records a checkpoint of step {step}"
    if damaged or not any(event["kind"] == "start" for event in events):
        metrics, _ = reader.read_lines(run / reader.METRICS)
        last = max([reached.get("reached_step", 0), *(line["step"] for line in metrics)])
        if last >= every:
            told = f"metrics and heartbeat tell of step {last}, and a checkpoint is written every {every} steps"
            return last // every * every, told
    return 0, ""


def _put_aside(run: Path, broken: Iterable[Path], begins_anew: bool) -> None:
    """Rename damaged checkpoints and, if a run restarts from scratch, the metrics that it would overwrite."""
    for path in broken:
        LOG.warning(f"{path} -> {checkpoint.set_aside(path)}")
    metrics = run / reader.METRICS
    if begins_anew and metrics.exists():
        number = 1
        while (aside := run / f"metrics.{number}.jsonl").exists():
            number += 1
        os.rename(metrics, aside)
        _warn(f"{run}: begins anew; its former metrics are in {aside.name}")


def _warn(text: str) -> None:
    LOG.warning(text)
    if distributed.is_main():
        print(f"warning: {text}", file=sys.stderr, flush=True)
