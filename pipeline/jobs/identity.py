"""What must be the same for weights to be continued: the recipe of a run, and what a model computes.

Compared by content and named by field, because a checkpoint of another recipe, or of another model whose tensors happen
to have the same shapes, would load without an error.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.runtime.options import RENAMED, flatten

MAY_CHANGE = (
    "engine",
    "evaluation",
    "checkpoint",
    "logging",
    "run_dir",
    "restart_from_scratch",
    "batch.micro_batch_size",
    "data.samples",
    "data.num_workers",
    "data.prefetch",
    "model.activation_checkpointing",
    "model.recompute_activation",
    "model.max_logits_mib",
    "optimizer.backend",
)
"""What a resumed run may set differently: none of it changes what is computed, except for rounding."""
NOT_OF_THE_WEIGHTS = frozenset(
    {
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "initializer_range",
        "activation_checkpointing",
        "recompute_activation",
        "max_logits_mib",
        "kernels",
    }
)
"""Fields of a model section that a new run may choose anew when it starts from trained weights."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Fields, as `name: old -> new`, in which a resumed run would not be the run that was begun.

    A field that only one of the two has was added or removed by another version, and is not compared. Values that an
    earlier version called otherwise are compared by their present names.

    Args:
        old: the recipe that the run was begun with, as nested values.
        new: the recipe that is asked for.
    """
    before, after = flatten(old), flatten(new)
    before |= {name: now.get(str(before[name]), before[name]) for name, now in RENAMED.items() if name in before}
    return [
        f"{name}: {before[name]} -> {after[name]}"
        for name in before
        if name in after and before[name] != after[name] and not name.startswith(MAY_CHANGE)
    ]


def check_same_recipe(checkpoint: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse to continue a run from a checkpoint of another recipe.

    Args:
        checkpoint: its directory, for the message.
        old: the recipe in its state.json.
        new: the recipe that is asked for.

    Raises:
        ValueError: they differ in what a resumed run must not change.
    """
    if changed := differences(old, new):
        raise ValueError(
            f"{checkpoint}: was written by a run with another recipe ({'; '.join(changed)}); move it out of this run's "
            "directory, or start a new run from it with init_from"
        )


def check_same_model(checkpoint: Path, state: Mapping[str, Any], family: str, model: Mapping[str, Any]) -> None:
    """Refuse to start from the weights of another model.

    Args:
        checkpoint: its directory, for the message.
        state: its state.json.
        family: the recipe's.
        model: the recipe's model section.

    Raises:
        ValueError: the checkpoint is of another family, or a field of the model has another value there.
    """
    if state["family"] != family:
        raise ValueError(f"family = {family}: init_from = {checkpoint} is of family {state['family']}; set it to that")
    theirs = state["model"]
    for name in sorted(theirs.keys() & model.keys() - NOT_OF_THE_WEIGHTS):
        if theirs[name] != model[name]:
            raise ValueError(
                f"model.{name} = {model[name]}: init_from = {checkpoint} has {theirs[name]}; set it to that"
            )
