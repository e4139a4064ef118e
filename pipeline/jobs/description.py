"""Descriptions of a pre-training run: for its terminal, its events and its checkpoints."""

import shutil
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pipeline.checkpoints import checkpoint
from pipeline.config import Recipe, plain
from pipeline.data.loader import BatchDivision
from pipeline.engine.engine import Engine
from pipeline.families import get_family
from pipeline.optim.shards import Shard
from pipeline.runlog.events import job_id
from pipeline.runtime import distributed
from pipeline.runtime.formatting import binary_size
from pipeline.runtime.processors import cpu_name
from pipeline.runtime.progress import Progress
from pipeline.training.state import TrainState


def checkpoint_fields(recipe: Recipe, vocab_size: int, samples: str, engine: Engine) -> dict[str, Any]:
    """Return the fields of a checkpoint's state.json beside the trainer's state.

    Args:
        recipe: the recipe.
        vocab_size: number of token ids.
        samples: checksum that identifies the training samples.
        engine: the engine.
    """
    return {
        "family": recipe.family,
        "terms": [asdict(term) for term in get_family(recipe.family).of(recipe.model).terms],
        "model": asdict(recipe.model),
        "vocab_size": vocab_size,
        "samples": samples,
        "recipe": plain(recipe),
        "loss_scaler": engine.loss_scaler(),
        "precision": engine.precision,
        "zero_stage": engine.zero_stage,
        "world_size": distributed.world_size(),
    }


def start_event_fields(engine: Engine, source: Path | None) -> dict[str, Any]:
    """Return the fields of the event that starts an attempt."""
    return {
        "world_size": distributed.world_size(),
        "zero_stage": engine.zero_stage,
        "precision": engine.precision,
        "device": engine.device.type,
        "processor": torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else cpu_name(),
        "host": socket.gethostname(),
        "job": job_id(),
        "from": str(source) if source else None,
    }


def startup_line(
    recipe: Recipe, engine: Engine, division: BatchDivision, state: TrainState, source: Path | None
) -> str:
    """Return one line about the run that begins: family, size, precision, ranks, batch and starting point."""
    parameters = sum(int(torch.Size(shape).numel()) for shard in engine.shards for shape in shard.shapes)
    begin = f"from {source}" if source else "from the start"
    begin = f"continuing at step {state.step}" if state.step else begin
    growing = f"growing from {start} to " if (start := recipe.batch.global_batch_size_start) else ""
    return (
        f"{recipe.family}, {parameters / 1e6:.1f} M parameters, {engine.precision}, ZeRO-{engine.zero_stage}, "
        f"{division.world_size} x {engine.device.type}, global batch {growing}{division.global_batch_size} = "
        f"{division.world_size} x {division.micro_batch_size} x {division.accumulation}, {begin}"
    )


def warn_of_space(run: Path, recipe: Recipe, engine: Engine, progress: Progress) -> None:
    """Warn at the start, and not after hours, if the disk is too small for the checkpoints."""
    size = sum(_checkpoint_bytes(shard, bool(recipe.schedule.average_last)) for shard in engine.shards)
    missing = recipe.checkpoint.keep + 1 - len(checkpoint.complete(run))
    free = shutil.disk_usage(run).free
    if free < missing * size:
        progress.say(
            f"warning: {run}: {binary_size(free)} are free, but {missing} more checkpoints of "
            f"{binary_size(size)} will be there at a time; make room, or lower checkpoint.keep"
        )


def _checkpoint_bytes(shard: Shard, averaged: bool) -> int:
    """Bytes of the whole tensors of a shard in a checkpoint: fp32 weights, moments and the average, if any."""
    return 4 * (1 + len(shard.moments) + averaged) * sum(int(torch.Size(shape).numel()) for shape in shard.shapes)
