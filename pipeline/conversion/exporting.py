"""Export of a checkpoint as a Hugging Face model, which is compared with the checkpoint before it appears."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.conversion import huggingface, task_models, verification
from pipeline.conversion.card import model_card
from pipeline.conversion.classes import assemble, class_of, load_whole, parameters_for
from pipeline.conversion.forms import FORMS
from pipeline.conversion.names import to_huggingface
from pipeline.conversion.source import Source, open_source
from pipeline.conversion.verification import ROUNDING, Outputs
from pipeline.data.batch import Batch

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
COMPARED: Mapping[str, tuple[str, ...]] = {
    "pretraining": ("logits", "logits of pairs"),
    "masked_lm": ("logits",),
    "encoder": ("hidden states", "pooled states"),
    "sequence_classification": ("hidden states", "pooled states"),
    "token_classification": ("hidden states",),
    "question_answering": ("hidden states",),
}
"""Outputs that are compared of each form, of those that the family's model computes. The logits of a new head are
compared if the family has the head for fine-tuning."""


@dataclass(frozen=True)
class Options:
    """What an export writes."""

    form: str = "pretraining"
    """Key of `FORMS`: the class of the model."""
    averaged: bool = False
    """Whether the averaged weights are written."""
    dtype: str = "float32"
    """Type of the weights."""
    max_shard_size: str = "5GB"
    """Bound on the size of a file of weights."""
    labels: int = 0
    """Number of classes of a new head; 0: two, as in `transformers`."""
    seed: int = 0
    """Seed of parameters that are drawn."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9]\d*(KB|MB|GB|TB)", self.max_shard_size):
            raise ValueError(
                f"--max_shard_size = {self.max_shard_size}: must be a whole number with its unit KB, MB, GB or TB, "
                "such as 5GB"
            )
        if self.labels < 0:
            raise ValueError(f"--labels = {self.labels}: must be at least 1, or 0 for two classes")
        if self.labels and not FORMS[self.form].labelled:
            forms = " or ".join(name for name, form in FORMS.items() if form.labelled)
            raise ValueError(f"--labels = {self.labels}: has no effect with --as {self.form}; use it with --as {forms}")


@dataclass(frozen=True)
class Exported:
    """What an export has written."""

    source: Path
    """Directory of the checkpoint."""
    model_class: str
    """Class in `transformers`."""
    options: Options
    new: tuple[str, ...]
    """Parameters that were drawn, under their names in `transformers`."""
    left_out: tuple[str, ...]
    """Parameters of the checkpoint that the class does not have."""
    differences: Mapping[str, float]
    """Name of a compared output -> largest difference from `transformers`."""
    rounding: Mapping[str, float] = field(default_factory=dict)
    """Name of an output -> largest change by the rounding of the weights; empty in fp32."""

    @property
    def text(self) -> str:
        """What has been written and how it was compared, one line each."""
        lines = [f"{self.model_class}, {self.options.dtype}"]
        lines += [f"left out: {', '.join(modules_of(self.left_out))}"] if self.left_out else []
        lines += [f"new and untrained, seed {self.options.seed}: {', '.join(self.new)}"] if self.new else []
        lines += [f"rounding changes the {name} by {value:.1e}" for name, value in self.rounding.items()]
        same = ", ".join(f"{name} {value:.1e}" for name, value in self.differences.items())
        return "\n".join([*lines, f"largest difference from transformers: {same}"])


def modules_of(names: Sequence[str]) -> list[str]:
    """Return the outermost modules that have the named parameters, in alphabetical order."""
    modules = sorted({name.rpartition(".")[0] for name in names})
    return [module for module in modules if not any(module.startswith(f"{other}.") for other in modules)]


def export_checkpoint(source: Path, out: Path, options: Options = Options()) -> Exported:
    """Write a checkpoint, or the newest complete one of a run, as a Hugging Face model.

    The weights are in memory once: their values are compared and written, and the model that `transformers` loads
    replaces them.

    Args:
        source: directory of a checkpoint, or of a run, which may be training.
        out: directory of the Hugging Face model, which must not exist.
        options: what is written.

    Raises:
        ValueError: the checkpoint is damaged or has not what is to be written, `out` exists, or `transformers` computes
            something else than this project. Nothing is written then.
    """
    huggingface.require_absent(out)
    opened = open_source(source, options.averaged)
    out.parent.mkdir(parents=True, exist_ok=True)
    with huggingface.atomic_directory(out) as temporary:
        exported = write(opened, temporary, options)
        card = model_card(out.name, dict(opened.state), options.averaged, exported.new)
        (temporary / "README.md").write_text(card, encoding="utf-8")
    return exported


def write(source: Source, directory: Path, options: Options) -> Exported:
    """Write configuration, weights and tokenizer of a model and compare it; empties `source.weights`.

    Raises:
        ValueError: as `export_checkpoint`.
    """
    target = prepare(source, directory, options)
    pretrained = to_huggingface(source.family, source.weights)
    chosen = parameters_for(
        target.model_class, target.fields, pretrained, source.config.initializer_range, options.seed
    )
    ours, rounding = expected(source, target, options, chosen.tensors), {}
    dtype = DTYPES[options.dtype]
    if dtype in ROUNDING:
        for value in (*source.weights.values(), *chosen.tensors.values()):
            value.copy_(value.to(dtype))
        exact, ours = ours, expected(source, target, options, chosen.tensors)
        rounding = verification.largest_difference(ours, exact)
        require_small_rounding(rounding, dtype, options.dtype)
    source.weights.clear()
    pretrained.clear()
    # One tensor at a time, so that two types of all weights are never in memory together.
    typed = {name: chosen.tensors.pop(name).to(dtype) for name in list(chosen.tensors)}
    assemble(target.model_class, target.fields, typed).save_pretrained(directory, max_shard_size=options.max_shard_size)
    typed.clear()
    differences = compare(directory, target, ours)
    return Exported(source.directory, target.model_class, options, chosen.new, chosen.left_out, differences, rounding)


@dataclass(frozen=True, eq=False)
class Target:
    """A model of `transformers` before its weights are written."""

    model_class: str
    fields: Mapping[str, Any]
    """Arguments of its configuration."""
    batches: Sequence[Batch]
    """Tokens on which it is compared."""


def prepare(source: Source, directory: Path, options: Options) -> Target:
    """Write the tokenizer, and return the model that is to be written."""
    family, config, vocab_size = source.family, source.config, source.state["vocab_size"]
    longest = huggingface.longest_sequence(family, config)
    fields = huggingface.fields_of(family, config, vocab_size, source.directory / "tokenizer")
    huggingface.copy_tokenizer(source.directory / "tokenizer", directory, longest)
    tokenizer = huggingface.load_tokenizer(directory)
    batches = verification.sample_batches(tokenizer, family.template, longest, vocab_size)
    chosen = {"num_labels": options.labels} if options.labels else {}
    return Target(class_of(family.export, options.form), fields | chosen, batches)


def expected(source: Source, target: Target, options: Options, tensors: Mapping[str, Tensor]) -> list[Outputs]:
    """Return what this project computes with the weights, of what the class of the export has.

    Args:
        source: the checkpoint, with its weights.
        target: the model that is to be written.
        options: what is written.
        tensors: parameters of the class, under its names.
    """
    family, vocab_size = source.family, source.state["vocab_size"]
    config = verification.computable(source.config)
    model = verification.pretrained_model(family, config, vocab_size, source.weights)
    found = [verification.outputs_here(model, batch) for batch in target.batches]
    names = COMPARED[options.form]
    chosen = [{name: one[name] for name in names if name in one} or one for one in found]
    head = task_models.head_with(family, target.model_class)
    if head is None:
        return chosen
    task = task_models.of_tensors(family, head, config, tensors)
    with torch.inference_mode():
        return [one | {"logits": task(batch)} for one, batch in zip(chosen, target.batches, strict=True)]


def compare(directory: Path, target: Target, ours: Sequence[Outputs]) -> dict[str, float]:
    """Load the model that was written and return the largest differences from what this project computes.

    Raises:
        ValueError: a parameter is missing or superfluous, or a difference is too large.
    """
    loaded = load_whole(directory, target.model_class)
    theirs = [verification.outputs_there(loaded, batch, list(ours[0])) for batch in target.batches]
    differences = verification.largest_difference(theirs, ours)
    verification.require_same(differences)
    return differences


def require_small_rounding(changes: Mapping[str, float], dtype: torch.dtype, name: str) -> None:
    """Check the effect of rounding the weights.

    Raises:
        ValueError: an output changes by more than `ROUNDING` or is no longer finite.
    """
    for output, change in changes.items():
        if not change <= ROUNDING[dtype]:
            raise ValueError(
                f"--dtype = {name}: rounding the weights changes the {output} by {change:.1e} of the largest one, more "
                f"than {ROUNDING[dtype]}; export with --dtype float32"
            )
