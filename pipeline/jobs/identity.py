"""Comparison of recipes and models, before a run continues from a checkpoint.

They are compared field by field, because a checkpoint of another recipe, or of another model whose tensors have the
same shapes, would load without an error.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.families import get_family
from pipeline.runtime.options import RENAMED, flatten

MAY_CHANGE = (
    "engine",
    "evaluation",
    "checkpoint",
    "logging",
    "name",
    "run_dir",
    "restart_from_scratch",
    "batch.micro_batch_size",
    "data.samples",
    "data.earlier_samples",
    "data.num_workers",
    "data.prefetch",
    "model.activation_checkpointing",
    "model.recompute_activation",
    "model.max_logits_mib",
    "optimizer.backend",
)
"""Prefixes of fields that a resumed run may set differently: they change results only by rounding."""
NOT_OF_THE_WEIGHTS = frozenset(
    {
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "initializer_range",
        "initialization",
        "output_bias",
        "activation_checkpointing",
        "recompute_activation",
        "max_logits_mib",
        "z_loss",
        "kernels",
        "attention",
        "fp8",
    }
)
"""Fields of every model section that may differ from the checkpoint that a new run starts from; `Family.free_fields`
are those of one family."""


def differences(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    defaults: Mapping[str, Any],
    may_change: tuple[str, ...] = MAY_CHANGE,
) -> list[str]:
    """Return the fields, as `name: old -> new`, in which a resumed run must not differ but does.

    A field that a later version has added has its default in the run so far. A field that a later version has removed
    is not compared. Values that have been renamed since are compared by their present names.

    Args:
        old: recipe of the run so far, as nested values.
        new: recipe of the command line, as nested values.
        defaults: defaults of the fields by dotted name.
        may_change: prefixes of fields that may differ.
    """
    before, after = {**defaults, **flatten(old)}, flatten(new)
    before |= {name: now.get(str(before[name]), before[name]) for name, now in RENAMED.items() if name in before}
    return [
        f"{name}: {before[name]} -> {after[name]}"
        for name in before
        if name in after and before[name] != after[name] and not name.startswith(may_change)
    ]


def check_same_recipe(
    checkpoint: Path, old: Mapping[str, Any], new: Mapping[str, Any], defaults: Mapping[str, Any]
) -> None:
    """Check that a checkpoint was written by a run with the same recipe.

    Args:
        checkpoint: directory of the checkpoint, for the message.
        old: the recipe in its state.json.
        new: recipe of the command line.
        defaults: defaults of the fields by dotted name.

    Raises:
        ValueError: they differ in a field that a resumed run must not change.
    """
    if changed := differences(old, new, defaults):
        raise ValueError(
            f"{checkpoint}: was written by a run with another recipe ({'; '.join(changed)}); move it out of this run's "
            "directory, or start a new run from it with init_from"
        )


def check_same_model(checkpoint: Path, state: Mapping[str, Any], family: str, model: Mapping[str, Any]) -> None:
    """Check that the weights of a checkpoint are those of the recipe's model.

    Args:
        checkpoint: directory of the checkpoint, for the message.
        state: content of its state.json.
        family: family of the recipe.
        model: model section of the recipe.

    Raises:
        ValueError: the checkpoint is of another family, or a field of the model has another value there.
    """
    if state["family"] != family:
        raise ValueError(f"family = {family}: init_from = {checkpoint} is of family {state['family']}; set it to that")
    theirs, free = state["model"], NOT_OF_THE_WEIGHTS | set(get_family(family).free_fields)
    for name in sorted(theirs.keys() & model.keys() - free):
        if theirs[name] != model[name]:
            raise ValueError(
                f"model.{name} = {model[name]}: init_from = {checkpoint} has {theirs[name]}; set it to that"
            )
