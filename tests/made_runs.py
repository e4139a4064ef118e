"""Run directories that tests write by hand: metrics, events, heartbeat, recipe."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BEGIN = 1_700_000_000.0
"""Start of the runs in Unix seconds; a step takes ten seconds."""

RECIPE = """
run_dir = "{run}"
[optimizer]
name = "lamb"
lr = {lr}
[schedule]
total_steps = {total}
"""


def event(kind: str, step: int, at: float | None = None, **said: Any) -> dict[str, Any]:
    """Return a line of events.jsonl, `at` seconds after the beginning."""
    return {"kind": kind, "time": BEGIN + (10 * step if at is None else at), "step": step, **said}


def start(step: int, at: float | None = None, **said: Any) -> dict[str, Any]:
    """Return the event of the start of an attempt."""
    usual = {"world_size": 8, "zero_stage": 2, "precision": "bf16", "device": "GPU", "host": "node1", "job": "77"}
    return event("start", step, at, **usual | {"from": None} | said)


def saved(step: int, at: float | None = None) -> dict[str, Any]:
    """Return the event of a checkpoint."""
    return event("checkpoint", step, at, seconds=12.5, stall_seconds=0.75, bytes=3 * 2**30)


def training(step: int) -> dict[str, Any]:
    """Return a line of training metrics."""
    values = {"loss": 10 - step / 10, "mlm_loss": 9 - step / 10, "mlm_accuracy": step / 100, "nsp_loss": 0.7}
    values |= {"nsp_accuracy": 0.5, "tokens_per_second": 1000 + step, "mfu": 0.4, "mfu_nominal": 0.5}
    values |= {"loader_wait_share": 0.01, "learning_rate": 1e-3 / (step + 1), "grad_norm": 1.0, "peak_memory_gib": 1.5}
    return event("train", step, skipped_steps=0, sequences_per_second=8.0, **values)


def heldout(step: int) -> dict[str, Any]:
    """Return a line of held-out metrics."""
    values = {"loss": 10 - step / 10, "mlm_loss": 9 - step / 10, "mlm_accuracy": step / 100, "nsp_loss": 0.7}
    return event("heldout", step, nsp_accuracy=0.5, **values)


def ratios(step: int, layers: int = 2) -> dict[str, Any]:
    """Return a line of trust ratios."""
    names = [f"encoder.layers.{i}.qkv.weight.{j}" for i in range(layers) for j in range(3)]
    names += ["encoder.embeddings.word.weight", "pooler.dense.weight"]
    return event("trust_ratio", step, ratios={name: 0.1 * (step + 1) + number for number, name in enumerate(names)})


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write a JSON-lines file, replacing an earlier one."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def make_run(
    directory: Path,
    steps: int = 40,
    *,
    lines: Sequence[dict[str, Any]] = (),
    events: Sequence[dict[str, Any]] | None = None,
    heartbeat: dict[str, Any] | None = None,
    lr: float = 4e-3,
) -> Path:
    """Write a run of `steps` steps, with further `lines` of metrics; without events it is as older versions left it."""
    directory.mkdir(parents=True)
    metrics = [heldout(0)]
    for step in range(1, steps + 1):
        metrics += [training(step), *([heldout(step)] if step % 10 == 0 else [])]
    write_lines(directory / "metrics.jsonl", [*metrics, *lines])
    if events is not None:
        write_lines(directory / "events.jsonl", events)
    if heartbeat is not None:
        usual = {"total_steps": steps, "host": "node1", "pid": 1, "job": "77"}
        (directory / "heartbeat.json").write_text(json.dumps(usual | heartbeat))
    (directory / "recipe.toml").write_text(RECIPE.format(run="run", lr=lr, total=steps))
    return directory
