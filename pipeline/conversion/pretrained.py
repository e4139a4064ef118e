"""A pre-trained model under the names of this project, from the files of any layout.

The names and shapes of all tensors are compared with the configuration before memory is allocated for one of them. What
was fine-tuned is left out, and heads that a model lacks are drawn anew if that was asked for; both are named.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pipeline.conversion import huggingface
from pipeline.conversion.fitting import require_layers, require_vocab_size
from pipeline.conversion.layouts.base import Source
from pipeline.conversion.names import Taken, count_layers, first, require_none, take
from pipeline.conversion.parts import ModelPart, join, ties
from pipeline.families.base import Family
from pipeline.model.config import EncoderConfig

FINE_TUNED = ("classifier.", "pre_classifier.", "qa_outputs.")
"""Prefixes of the heads that classes of `transformers` for fine-tuning put on an encoder."""
BUFFERS = ("position_ids", "token_type_ids")
"""Suffixes of buffers that older versions of `transformers` saved, which hold nothing that was learnt."""


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A model that was read."""

    state_dict: dict[str, Tensor]
    """Parameters in fp32 under the names of this project."""
    config: EncoderConfig
    vocab_size: int
    """Number of rows of its word embeddings."""
    form: Family[Any]
    """The family, or the variant of it, whose parameters these are."""
    new: tuple[str, ...] = ()
    """Names in `transformers` of the parameters that were drawn anew."""
    left_out: tuple[str, ...] = ()
    """Names in `transformers` of the parameters that the form does not have."""
    carried: Mapping[str, Tensor] = field(default_factory=dict)
    """Further tensors of the files that were asked for, under their names there."""


def read_pretrained(
    family: Family[Any],
    source: Source,
    model_class: str = "",
    new_heads: bool = False,
    seed: int = 12345,
    carried: Collection[str] = (),
) -> Pretrained:
    """Read a model, to continue its training.

    Args:
        family: family of the model.
        source: the model as its layout found it.
        model_class: class in `transformers` of the family or of one of its variants whose parameters are wanted; empty:
            the one that differs least from those of the model.
        new_heads: whether heads that the model lacks are drawn from the initial distribution of the family.
        seed: seed of these.
        carried: names of further tensors that are read if they are there.

    Raises:
        ValueError: the configuration has a value that the family does not support; a tensor is missing, unknown, not
            finite, or of another shape than the configuration requires; or heads are missing and `new_heads` is false.
    """
    try:
        of_model = {name: value for name, value in source.outlines.items() if name not in carried}
        kept = {name: value for name, value in of_model.items() if not name.startswith(FINE_TUNED)}
        form, outlines = form_of(family, kept, model_class)
        config = form.export.config_from({**huggingface.default_fields(form), **source.fields})
        left_out = [*(of_model.keys() - kept), *_of_other_forms(family, form, kept, outlines)]
        _require_complete(form, outlines, new_heads)
        vocab_size = len(outlines.parameters[form.word_embeddings])
        require_vocab_size(source.fields, vocab_size)
        _require_shapes(form, config, vocab_size, outlines)
        values = source.values()
        further = {name: values[name] for name in carried if name in values}
        values = {name: value for name, value in values.items() if name in kept}
        state = take(form, values).parameters | _fresh(form, config, vocab_size, outlines, seed)
    except ValueError as error:
        text = str(error).replace("config.json", source.config)
        raise ValueError(f"{source.path}: {text}") from None
    new = sorted(name for absent in outlines.missing.values() for name in absent)
    return Pretrained(state, config, vocab_size, form, tuple(new), tuple(sorted(left_out)), further)


def read_parts(
    family: Family[Any], sources: Sequence[Source], new_heads: bool = False, seed: int = 12345
) -> Pretrained:
    """Read a model whose parts have directories of their own, such as ELECTRA's encoder and generator.

    Args:
        family: family of the model.
        sources: the parts, in the order of `family.parts`.
        new_heads, seed: as for `read_pretrained`.

    Raises:
        ValueError: as `read_pretrained`, or the parts do not belong together.
    """
    pairs, files = zip(family.parts, sources, strict=True), family.carried.values()
    read = [read_pretrained(part.family, source, "", new_heads, seed, files) for part, source in pairs]
    parts = [
        ModelPart(
            part.directory,
            part.family,
            each.config,
            each.state_dict,
            {ours: each.carried[theirs] for ours, theirs in family.carried.items() if theirs in each.carried},
        )
        for part, each in zip(family.parts, read, strict=True)
    ]
    try:
        whole = join(family, parts)
    except ValueError as error:
        raise ValueError(f"{sources[0].path}: {error}") from None
    new = tuple(name for each in read for name in each.new)
    left_out = tuple(name for each in read for name in each.left_out)
    return Pretrained(dict(whole.state_dict), whole.config, read[0].vocab_size, family, new, left_out)


def with_rows(model: Pretrained, rows: int) -> Pretrained:
    """Return a model with the first `rows` rows of its word embeddings, and of the biases of its logits."""
    state, form = dict(model.state_dict), model.form
    for name in form.with_row_per_token:
        state[name] = state[name][:rows].clone()
    state |= {alias: state[name] for alias, name in ties(form, state).items()}
    return replace(model, state_dict=state, vocab_size=rows)


def form_of(family: Family[Any], state: Mapping[str, Tensor], model_class: str) -> tuple[Family[Any], Taken]:
    """Return the form of a family that fits the parameters best, or has the given class, and what it takes of them."""
    whole = [form for form in (family, *family.variants) if not form.parts]  # a model of parts has several directories
    forms = [form for form in whole if model_class in ("", form.export.model_class)]
    if not forms:
        known = ", ".join(dict.fromkeys(form.export.model_class for form in whole))
        raise ValueError(f"--model_class {model_class}: the {family.name} family has {known}; name one of them")
    found = [(form, take(form, state)) for form in forms]
    return min(found, key=lambda pair: len(pair[1].missing) + len(pair[1].unknown))


def _of_other_forms(family: Family[Any], form: Family[Any], state: Mapping[str, Tensor], taken: Taken) -> list[str]:
    """Return the names of the parameters that another form has, or that this one ignores.

    Raises:
        ValueError: a parameter is of no form of the family.
    """
    known = {
        name
        for each in (family, *family.variants)
        for parts in each.export.names(count_layers(form, taken.parameters)).values()
        for name in parts
    }
    require_none([], [name for name in taken.unknown if name not in known])
    theirs = [form.export.modern(name) for name in state]
    ignored = [name for name in theirs if name.endswith(form.export.ignored) and not name.endswith(BUFFERS)]
    return [*taken.unknown, *ignored]


def _require_complete(form: Family[Any], taken: Taken, new_heads: bool) -> None:
    """Raise ValueError if the encoder is not complete, or a head is missing and none may be drawn anew."""
    missing = sorted(name for absent in taken.missing.values() for name in absent)
    if any(ours.startswith("encoder.") for ours in taken.missing) or not count_layers(form, taken.parameters):
        require_none(missing or ["all layers"], [])
    if missing and not new_heads:
        raise ValueError(
            f"missing {first(missing)} of {form.export.model_class}; pass --new_heads true to draw them anew, or give "
            f"a {form.export.model_class} that was saved with its heads"
        )


def _require_shapes(form: Family[Any], config: EncoderConfig, vocab_size: int, taken: Taken) -> None:
    """Raise ValueError unless the parameters, which may be meta tensors, have the shapes of the configuration."""
    found = taken.parameters
    require_layers(form, config, found)
    try:
        with torch.device("meta"):
            expected = form.build(config, vocab_size).state_dict()
    except RuntimeError as error:  # a size beyond 64 bits
        raise ValueError(f"config.json: no model has these sizes ({str(error).splitlines()[0]})") from None
    if unknown := sorted(found.keys() - expected.keys()):
        raise ValueError(f"the weights hold {unknown[0]}, which no model of config.json has; take both from one model")
    for name, value in expected.items():
        if name in taken.missing:
            continue
        if name not in found or found[name].shape != value.shape:
            shape = tuple(found[name].shape) if name in found else "missing"
            raise ValueError(
                f"{name} is {shape} in the weights, {tuple(value.shape)} according to config.json; "
                "take both files from the same model"
            )


def _fresh(form: Family[Any], config: EncoderConfig, vocab_size: int, taken: Taken, seed: int) -> dict[str, Tensor]:
    """Return the missing parameters with the values that a new model of the family and this seed has."""
    if not taken.missing:
        return {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = form.build(config, vocab_size).state_dict()
    return {name: drawn[name].clone() for name in taken.missing}
