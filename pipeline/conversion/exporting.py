"""Export of a checkpoint as a Hugging Face model, which is compared with the checkpoint before it appears."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.conversion import huggingface, task_models, verification
from pipeline.conversion.card import model_card
from pipeline.conversion.classes import Parameters, assemble, class_of, parameters_for, save, unread_of
from pipeline.conversion.exported import Exported, Options
from pipeline.conversion.names import exported_of, renamed
from pipeline.conversion.parts import ModelPart, divide
from pipeline.conversion.provenance import provenance_of
from pipeline.conversion.source import Source, open_source
from pipeline.conversion.verification import ROUNDING, Outputs
from pipeline.data.batch import Batch
from pipeline.families.base import Family, Output, TaskHead
from pipeline.model.config import EncoderConfig

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
COMPARED: Mapping[str, tuple[str, ...]] = {
    "pretraining": ("logits", "logits of pairs", "hidden states"),
    "masked_lm": ("logits", "hidden states"),
    "encoder": ("hidden states", "pooled states"),
    "sequence_classification": ("hidden states", "pooled states"),
    "token_classification": ("hidden states",),
    "question_answering": ("hidden states",),
    "multiple_choice": ("hidden states", "pooled states"),
}
"""Outputs that are compared of each form, of those that the family's model computes. The logits of a new head are
compared if the family has the head for fine-tuning."""


def export_checkpoint(source: Path, out: Path, options: Options) -> Exported:
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
    out.parent.mkdir(parents=True, exist_ok=True)
    with huggingface.atomic_directory(out) as temporary:
        opened = open_source(source, options.averaged, temporary)
        exported = write(opened, temporary, options)
        card = model_card(out.name, exported, provenance_of(opened.directory, opened.state))
        (temporary / "README.md").write_text(card, encoding="utf-8")
    return exported


def write(source: Source, directory: Path, options: Options) -> Exported:
    """Write configuration and weights of a model and compare it; empties `source.weights`.

    A model whose parts have classes of their own is written in several directories, or the part alone that has the
    class of the form.

    Args:
        source: the checkpoint.
        directory: directory of the model, which has the tokenizer already.
        options: what is written.

    Raises:
        ValueError: as `export_checkpoint`.
    """
    targets, omitted = targets_of(source, options)
    longest = huggingface.longest_sequence(source.family, source.config)
    for target in targets[1:]:
        (directory / target.place).mkdir()
        huggingface.copy_tokenizer(directory, directory / target.place, longest)
    tokenizer = huggingface.load_tokenizer(directory)
    batches = verification.sample_batches(tokenizer, source.family.template, longest, source.state["vocab_size"])
    made = {}
    for target, ours, rounding in zip(targets, *computed(targets, batches, options), strict=True):
        differences = write_target(target, directory / target.place, batches, ours, options)
        new, left_out = target.parameters.new, target.parameters.left_out
        made[target.place] = Exported(
            source.directory,
            target.model_class,
            options,
            new,
            left_out,
            differences,
            asdict(target.config),
            rounding,
            unread=tuple(target.unread),
        )
    return replace(made.pop(""), further=made, omitted=omitted)


@dataclass(frozen=True, eq=False)
class Target:
    """A model of `transformers` before it is written."""

    place: str
    """Directory below that of the export; empty: that directory itself."""
    model_class: str
    fields: Mapping[str, Any]
    """Arguments of its configuration."""
    family: Family[Any]
    config: EncoderConfig
    """Configuration of the same model here, which this machine can compute."""
    weights: dict[str, Tensor]
    """Parameters under the names of this project."""
    parameters: Parameters
    """Parameters of the class."""
    unread: dict[str, Tensor]
    """Further parameters, which the class ignores in its files, under their names there."""
    head: TaskHead | None
    """The head of the family with this class, if there is one."""

    @property
    def kind(self) -> Output:
        """What the class gives."""
        return self.head.output if self.head else "tokens"


def targets_of(source: Source, options: Options) -> tuple[list[Target], tuple[str, ...]]:
    """Return the models that are to be written, the one in the directory itself first, and the classes of other parts.

    `source.weights` is emptied: each of the models has the weights of its part, and releases them when it is written.

    Raises:
        ValueError: `transformers` has no class of this form for the family.
    """
    parts = divide(source.family, source.config, source.weights)
    written = parts_for(source.family, parts, options.form)
    targets = [prepare(source, part, part.directory if len(written) > 1 else "", options) for part in written]
    source.weights.clear()
    return targets, tuple(part.family.export.model_class for part in parts if part not in written)


def parts_for(family: Family[Any], parts: Sequence[ModelPart], form: str) -> list[ModelPart]:
    """Return the parts of a model that are written: for pre-training all, else the one with the class or the encoder.

    Raises:
        ValueError: `transformers` has no class of this form for the family.
    """
    if form == "pretraining":
        return list(parts)
    wanted = class_of(family.export, form)
    return [part for part in parts if part.family.export.model_class == wanted] or list(parts[:1])


def prepare(source: Source, part: ModelPart, place: str, options: Options) -> Target:
    """Return the model that is to be written of a part of a model, or of a whole one.

    Args:
        source: the checkpoint.
        part: the part.
        place: directory of the part below that of the export.
        options: what is written.
    """
    family = part.family
    model_class = class_of(family.export, options.form)
    fields = huggingface.fields_of(part, source.state["vocab_size"], source.pad_token_id)
    fields |= {"num_labels": options.labels} if options.labels else {}
    named = renamed(family, part.state_dict)
    pretrained = exported_of(family, named)
    chosen = parameters_for(model_class, fields, pretrained, part.config.initializer_range, options.seed)
    config, head = verification.computable(part.config), task_models.head_with(family, model_class)
    unread = unread_of(family.export, pretrained) if options.form == "pretraining" else {}
    if unread:
        unread |= {source.family.carried[name]: value for name, value in part.carried.items()}
        kept = tuple(name for name in chosen.left_out if name not in family.export.unread)
        chosen = replace(chosen, left_out=kept)
    unexported = tuple(sorted(named.keys() - pretrained.keys()))
    chosen = replace(chosen, left_out=(*chosen.left_out, *unexported))
    return Target(place, model_class, fields, family, config, dict(part.state_dict), chosen, unread, head)


def computed(
    targets: Sequence[Target], batches: Sequence[Batch], options: Options
) -> tuple[list[list[Outputs]], list[dict[str, float]]]:
    """Return what this project computes with the weights, after rounding them, and the changes by the rounding.

    Raises:
        ValueError: a change is too large.
    """
    exact = [expected(target, batches, options.form) for target in targets]
    dtype = DTYPES[options.dtype]
    if dtype not in ROUNDING:
        return exact, [{} for _ in targets]
    for target in targets:
        for value in (*target.weights.values(), *target.parameters.tensors.values(), *target.unread.values()):
            value.copy_(value.to(dtype))
    ours = [expected(target, batches, options.form) for target in targets]
    changes = [verification.largest_difference(*pair) for pair in zip(ours, exact, strict=True)]
    for change in changes:
        require_small_rounding(change, dtype, options.dtype)
    return ours, changes


def expected(target: Target, batches: Sequence[Batch], form: str) -> list[Outputs]:
    """Return what this project computes with the weights, of what the class of the export has."""
    model = verification.pretrained_model(target.family, target.config, target.fields["vocab_size"], target.weights)
    found = [verification.outputs_here(model, batch) for batch in batches]
    names = COMPARED[form]
    chosen: list[Outputs] = [{name: one[name] for name in names if name in one} for one in found]
    if target.head is None:
        return chosen
    task = task_models.of_tensors(target.family, target.head, target.config, target.parameters.tensors)
    with torch.inference_mode():
        return [{**one, "logits": task(batch)} for one, batch in zip(chosen, batches, strict=True)]


def write_target(
    target: Target, directory: Path, batches: Sequence[Batch], ours: Sequence[Outputs], options: Options
) -> dict[str, float]:
    """Write configuration and weights into a directory, and return the largest differences of what is loaded from it.

    Raises:
        ValueError: a parameter is missing or superfluous, or a difference is too large.
    """
    target.weights.clear()
    # One tensor at a time, so that two types of all weights are never in memory together.
    tensors, dtype = target.parameters.tensors, DTYPES[options.dtype]
    typed = {name: tensors.pop(name).to(dtype) for name in list(tensors)}
    unread = {name: target.unread[name].to(dtype) for name in target.unread}
    save(assemble(target.model_class, target.fields, typed), unread, directory, options.max_shard_size)
    typed.clear()
    loaded = huggingface.load_whole(directory, target.model_class, unread)
    theirs = [verification.outputs_there(loaded, batch, ours[0].keys(), target.kind) for batch in batches]
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
