"""Sections of a model card about training, data and evaluation."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.conversion.provenance import Provenance
from pipeline.optim.schedule import steps_averaged
from pipeline.runlog.terms import Term, masked_term
from preprocessing.schema import TRAIN

OPTIMIZERS = {"lamb": "LAMB", "adamw": "AdamW", "muon": "Muon"}
"""Value of optimizer.name -> name of the optimizer in texts."""
KEYS: Mapping[str, tuple[str, ...]] = {
    "Masking": ("masking.*",),
    "Batch": (
        "batch.global_batch_size",
        "batch.global_batch_size_start",
        "batch.growth_proportion",
        "batch.scale_with_length",
    ),
    "Optimizer": (
        "optimizer.lr",
        "optimizer.beta1",
        "optimizer.beta2",
        "optimizer.eps",
        "optimizer.momentum",
        "optimizer.adam_lr_factor",
        "optimizer.weight_decay",
        "optimizer.max_grad_norm",
        "optimizer.bias_correction",
        "optimizer.variant",
    ),
    "Learning rate": (
        "schedule.total_steps",
        "schedule.warmup_proportion",
        "schedule.decay",
        "schedule.degree",
        "schedule.decay_proportion",
        "schedule.decay_shape",
        "schedule.floor",
    ),
    "Regularisation": (
        "model.*_dropout_prob",
        "model.z_loss",
    ),
    "Initial weights": ("model.initialization", "model.initializer_range", "model.output_bias", "seed"),
}
"""Row of the table of the training -> fields of the recipe, or patterns of several, as in `fnmatch`."""
ONLY_WITH: Mapping[str, tuple[str, tuple[Any, ...]]] = {
    "masking.mask_only_above": ("masking.probability_start", ()),
    "batch.growth_proportion": ("batch.global_batch_size_start", ()),
    "optimizer.momentum": ("optimizer.name", ("muon",)),
    "optimizer.adam_lr_factor": ("optimizer.name", ("lamb", "muon")),
    "optimizer.variant": ("optimizer.name", ("lamb",)),
    "schedule.degree": ("schedule.decay", ("polynomial",)),
    "schedule.decay_proportion": ("schedule.decay", ("stable",)),
    "schedule.decay_shape": ("schedule.decay", ("stable",)),
}
"""Field -> the field on which its effect depends, and the values with which it has one; no values: any that is set."""
CORPUS = (
    ("extract", "sources", "Sources"),
    ("extract", "language", "Language"),
    ("extract", "min_chars", "Shortest document in characters"),
    ("extract", "max_chars", "Longest document in characters"),
    ("extract", "max_sentence_chars", "Longest sentence in characters"),
    ("extract", "check_language", "Documents in other languages left out"),
    ("extract", "deduplicate", "Duplicates of documents left out"),
    ("extract", "decontaminate", "Evaluation data left out"),
    ("extract", "unicode_form", "Unicode normal form"),
    ("extract", "heldout_share", "Share of held-out documents"),
    ("tokenizer", "kind", "Tokenizer"),
    ("tokenizer", "lower_case", "Lower-cased text"),
    ("build", "segments", "Samples"),
    ("build", "duplicates", "Passes with other samples"),
    ("build", "seed", "Seed"),
)
"""Stage of preprocessing, its option, and the name of both in the table of the data."""


def training_section(provenance: Provenance, averaged: bool) -> str:
    """Return a table of the recipe and of how it ran."""
    recipe, state = provenance.recipe, provenance.state
    if not recipe:
        return "Not recorded."
    rows = {
        "Objective": ", ".join(f"{term.title} prediction (weight {term.weight:g})" for term in provenance.terms),
        **{row: ", ".join(named(recipe, patterns)) for row, patterns in KEYS.items()},
        "Steps and samples": f"{state['step']:,} steps, {state['consumed_samples']:,} samples",
        "Precision": state.get("precision", ""),
        "Processes": f"{state['world_size']}, ZeRO stage {state['zero_stage']}" if "zero_stage" in state else "",
        "Started from": "another checkpoint" if recipe.get("init_from") else "random weights",
    }
    name = str(recipe.get("optimizer.name", ""))
    rows["Optimizer"] = f"{OPTIMIZERS.get(name, name)}: {rows['Optimizer']}"
    return table(("Training", ""), rows) + averaged_over(provenance, averaged)


def named(recipe: Mapping[str, Any], patterns: tuple[str, ...]) -> list[str]:
    """Return `field = value`, without its section, for the fields that are set and have an effect."""
    fields = [each for pattern in patterns for each in fnmatch.filter(recipe, pattern)]
    chosen = [name for name in fields if is_set(recipe, name) and has_effect(recipe, name)]
    return [f"{name.rpartition('.')[2]} = {shown(recipe[name])}" for name in chosen]


def is_set(recipe: Mapping[str, Any], name: str) -> bool:
    """Return whether a field is in the recipe and is not turned off by 0, false or nothing."""
    return name in recipe and (name == "seed" or bool(recipe[name]))


def has_effect(recipe: Mapping[str, Any], name: str) -> bool:
    """Return whether a field has an effect beside the others."""
    if name not in ONLY_WITH:
        return True
    other, values = ONLY_WITH[name]
    return recipe.get(other) in values if values else is_set(recipe, other)


def averaged_over(provenance: Provenance, averaged: bool) -> str:
    """Return a paragraph about averaged weights; empty for a model with the last weights."""
    if not averaged:
        return ""
    total, last = (provenance.recipe[f"schedule.{name}"] for name in ("total_steps", "average_last"))
    steps = steps_averaged(provenance.state["step"], total, last)
    return f"\n\nThe weights are the average over the last {steps:,} steps."


def data_section(provenance: Provenance) -> str:
    """Return a table of the corpus and its filters."""
    manifest = provenance.manifest
    if manifest is None:
        return "The manifest of the training samples was not available when this card was written."
    rows = {f"{split} split": f"{one.rows:,} samples, {one.tokens:,} tokens" for split, one in manifest.splits.items()}
    by_source = manifest.splits[TRAIN].tokens_by_source if TRAIN in manifest.splits else {}
    rows |= {f"Training tokens of {plain_source(name)}": f"{tokens:,}" for name, tokens in by_source.items()}
    rows |= {"Longest sample": f"{manifest.max_seq_length} tokens", "Vocabulary": f"{manifest.vocab_size:,} tokens"}
    for stage, option, label in CORPUS:
        value = provenance.options(stage).get(option)
        if option == "sources":
            value = [plain_source(name) for name in value or []]
        if option == "decontaminate":
            value = [plain_source(str(name)) for name in value or []]
        if value not in (None, "", 0, [], False):
            rows[label] = shown(value)
    return table(("Data", ""), rows)


def plain_source(name: str) -> str:
    """Return a source without the directories of its path: `wikipedia:/a/dumps` as `wikipedia:dumps`."""
    kind, colon, path = name.partition(":")
    return f"{kind.rpartition('/')[2]}{colon}{path.rstrip('/').rpartition('/')[2]}"


@dataclass(frozen=True)
class Figure:
    """A held-out figure of a term of the loss."""

    title: str
    """Title of the term."""
    kind: str
    """Kind of the figure: "loss" or "accuracy"."""
    value: float


def heldout_of(provenance: Provenance, terms: Sequence[Term], averaged: bool) -> list[Figure]:
    """Return the held-out figures of some terms; empty without an evaluation."""
    metrics = provenance.state["metrics"].get("averaged" if averaged else "heldout", {})
    return [
        Figure(term.title, kind, metrics[f"{term.name}_{kind}"])
        for term in terms
        for kind in ("loss", "accuracy")
        if f"{term.name}_{kind}" in metrics
    ]


def evaluation_section(provenance: Provenance, averaged: bool) -> str:
    """Return held-out figures with the floors of the loss and the order gap."""
    figures = heldout_of(provenance, provenance.terms, averaged)
    if not figures:
        return "The checkpoint has no held-out evaluation."
    rows = {f"{figure.title} {figure.kind}": f"{figure.value:.4f}" for figure in figures}
    on = f"{provenance.evaluated:,} samples" if provenance.evaluated else "samples"
    text = f"The figures were measured on {on} that the model was not trained on. {units(provenance.terms)}"
    return f"{text}\n\n{table(('Held out', ''), rows)}{floors_text(provenance, averaged)}"


def units(terms: Sequence[Term]) -> str:
    """Return a sentence on the units of the losses."""
    others = [f"the {term.title} loss is a {term.unit}" for term in terms if term.unit != "nats"]
    return "; ".join(["Losses are in nats", *others]) + "."


def floors_text(provenance: Provenance, averaged: bool) -> str:
    """Return what the masked-token loss can be compared with; empty if nothing is recorded."""
    term, floors, rows = masked_term(provenance.terms), provenance.floors, {}
    if term is None:
        return ""
    if floors:
        rows["Loss of a predictor that knows the frequencies of tokens"] = f"{floors.unigram:.4f}"
        rows["Accuracy of this predictor"] = f"{floors.unigram_accuracy:.4f}"
        rows["Loss of a predictor that also knows the other tokens, without order"] = f"{floors.context:.4f}"
    gap = provenance.state["metrics"].get("averaged" if averaged else "heldout", {}).get(term.order_gap)
    if gap is not None:
        rows["Order gap: increase of the model's loss if the tokens around the masks are shuffled"] = f"{gap:.4f}"
    return f"\n\n{table((f'For comparison: {term.title}', ''), rows)}" if rows else ""


def table(header: tuple[str, str], rows: Mapping[str, str]) -> str:
    """Return a table in Markdown of two columns, without empty rows."""
    lines = [f"| {' | '.join(header)} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {cell(value)} |" for name, value in rows.items() if value)])


def cell(text: str) -> str:
    """Return a text as the content of a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def shown(value: Any) -> str:
    """Return a value as text: yes for true, lists with commas."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    return f"{value}"
