"""Export of a checkpoint as a Hugging Face model, which is compared with the checkpoint before it appears."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.conversion import huggingface, task_models, verification
from pipeline.conversion.card import model_card
from pipeline.conversion.classes import assemble, class_of, load_whole, parameters_for
from pipeline.conversion.exported import Exported, Options
from pipeline.conversion.names import to_huggingface
from pipeline.conversion.provenance import provenance_of
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

    Args:
        source: the checkpoint.
        directory: directory of the model, which has the tokenizer already.
        options: what is written.

    Raises:
        ValueError: as `export_checkpoint`.
    """
    target = prepare(source, directory, options)
    pretrained = to_huggingface(source.family, source.weights)
    chosen = parameters_for(
        target.model_class, target.fields, pretrained, source.config.initializer_range, options.seed
    )
    ours = expected(source, target, options, chosen.tensors)
    rounding: dict[str, float] = {}
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
    """Return the model that is to be written into a directory with its tokenizer."""
    family, config, vocab_size = source.family, source.config, source.state["vocab_size"]
    longest = huggingface.longest_sequence(family, config)
    tokenizer = huggingface.load_tokenizer(directory)
    batches = verification.sample_batches(tokenizer, family.template, longest, vocab_size)
    chosen = {"num_labels": options.labels} if options.labels else {}
    return Target(class_of(family.export, options.form), {**source.fields, **chosen}, batches)


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
        return [{**one, "logits": task(batch)} for one, batch in zip(chosen, target.batches, strict=True)]


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
