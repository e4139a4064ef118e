"""The state of a fine-tuning, and its checkpoints, which have the format of pre-training (`pipeline.checkpoints`).

The newest checkpoint and that of the best epoch are kept. No random state is stored: order and dropout are functions of
(seed, step).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.record import DamagedError, name_of, present, read_state, step_of
from pipeline.optim.shards import Shard
from pipeline.runtime.logger import LOG


@dataclass
class State:
    """The position of a fine-tuning and its results so far."""

    step: int = 0
    """Optimizer steps done."""
    best_step: int = 0
    """Step of the best evaluation; 0: none yet."""
    stale_epochs: int = 0
    """Evaluations since the best one."""
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    """"best": metrics of the best evaluation; "dev": those of the newest one."""
    interval: dict[str, float] = field(default_factory=dict)
    """Sums since the last line of training metrics."""


@dataclass(frozen=True)
class Identity:
    """The run that wrote a checkpoint."""

    family: str
    model: Mapping[str, Any]
    """Configuration of the encoder."""
    vocab_size: int
    samples: str
    """Checksum of the examples."""
    recipe: Mapping[str, Any]


def save(run: Path, shards: list[Shard], state: State, identity: Identity, tokenizer: Path) -> None:
    """Write a checkpoint of the present step, and remove those that are neither the newest nor the best one.

    Args:
        run: directory of the run.
        shards: weights and moments.
        state: position and results.
        identity: the run.
        tokenizer: directory whose tokenizer is copied.
    """
    final = run / "checkpoints" / name_of(state.step)
    temporary = checkpoint.temporary_of(final)
    temporary.mkdir(parents=True)
    path = temporary / checkpoint.rank_file(0)
    entry = checkpoint.write_tensors(path, dict(checkpoint.fragments(shards)))
    values = asdict(identity) | asdict(state) | checkpoint.tensor_table(shards) | {"consumed_samples": 0}
    checkpoint.publish(temporary, final, values, {path.name: entry}, tokenizer)
    for old in present(run):
        if step_of(old) not in (state.step, state.best_step):
            checkpoint.remove(old)


def restore(run: Path, shards: list[Shard], samples: str) -> State:
    """Load the newest sound checkpoint of a run, and return its state; a new state if the run has none.

    Args:
        run: directory of the run.
        shards: weights and moments, which are overwritten.
        samples: checksum of the examples.

    Raises:
        ValueError: the checkpoint was trained on other examples, or the run has checkpoints but no sound one.
    """
    checkpoint.sweep(run)
    damage = ""
    for directory in present(run):
        try:
            checkpoint.verify(directory)
            values = read_state(directory)
            state = State(**{each.name: values[each.name] for each in fields(State)})
        except (DamagedError, KeyError) as error:
            damage = damage or str(error)
            LOG.warning(f"broken checkpoint: {error}")
            continue
        if values.get("samples") != samples:
            raise ValueError(f"{directory} was trained on other examples; give the same data, or another out")
        checkpoint.load_shards(directory, shards)
        return state
    if damage:
        raise ValueError(f"{run}: no checkpoint is sound ({damage}); remove the directory to train from the start")
    return State()
