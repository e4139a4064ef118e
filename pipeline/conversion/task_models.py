"""Task models, which are encoders with a head for fine-tuning: begun from a model directory, written and read as one.

Any directory whose encoder is that of a family is a beginning: a pre-trained model with or without its heads, an
encoder alone, or a model that was fine-tuned before. What it lacks is drawn anew and named. A task model is written as
a directory of the family's class in `transformers` for the task, and is checked there (law 7).
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.checkpoints import model_files
from pipeline.conversion import huggingface
from pipeline.conversion.fitting import padding_of, require_layers, require_shapes, require_vocab_size
from pipeline.conversion.importing import family_of
from pipeline.conversion.names import from_huggingface
from pipeline.conversion.verification import largest_difference, outputs_there, require_same
from pipeline.data.batch import Batch
from pipeline.families import get_family
from pipeline.families.base import Family, Names, TaskHead
from pipeline.model.config import EncoderConfig
from pipeline.model.task_heads import TaskModel, initialize_head


@dataclass(frozen=True, eq=False)
class Begun:
    """A task model before its fine-tuning."""

    model: TaskModel
    """The model, on the CPU."""
    config: EncoderConfig
    vocab_size: int
    new: tuple[str, ...]
    """Names in `transformers` of the parameters that were drawn anew."""
    left_out: int
    """Number of rows of the word embeddings behind the tokenizer's last token, which the model does not have."""


def begin(
    directory: Path,
    family: Family[Any],
    head: TaskHead,
    outputs: int,
    dropout: float,
    vocab_size: int,
    seed: int,
) -> Begun:
    """Build a task model whose encoder is that of a directory.

    Rows of the embeddings behind the tokenizer's last token, as of a vocabulary padded to a round size, are left out.
    More than `fitting.MOST_PADDING` of them are an error, because the tokenizer is probably that of another model.

    Args:
        directory: a model directory with safetensors.
        family: its family.
        head: the head.
        outputs: number of logits.
        dropout: dropout of hidden states, attention and head.
        vocab_size: number of tokens of its tokenizer.
        seed: seed of the parameters that are drawn anew.

    Raises:
        ValueError: the configuration is not supported, or a tensor of the encoder is missing, unknown, not finite or of
            another shape.
    """
    fields, files = model_files.read_config(directory), model_files.weight_files(directory)
    try:
        config = _config(family, fields)
        config = replace(config, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
        found = _of_encoder(family, head, config, model_files.values(files))
        rows = len(found.get(family.word_embeddings, ()))
        require_vocab_size(fields, rows)
        left_out = padding_of(rows, vocab_size)
        found[family.word_embeddings] = found[family.word_embeddings][:vocab_size].clone()
        model = build(family, head, config, vocab_size, outputs, found)
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from None
    initialize_head(model.head, config.initializer_range, seed)
    model.load_state_dict(found, strict=False, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    new = [name for ours, parts in {**head.pretrained, **head.new}.items() if ours not in found for name in parts]
    return Begun(model, config, vocab_size, tuple(new), left_out)


def build(
    family: Family[Any],
    head: TaskHead,
    config: EncoderConfig,
    vocab_size: int,
    outputs: int,
    found: Mapping[str, Tensor],
) -> TaskModel:
    """Return a task model whose encoder is on the meta device, and whose head has arbitrary weights.

    Args:
        family: its family.
        head: its head.
        config: configuration of its encoder.
        vocab_size: number of tokens.
        outputs: number of logits.
        found: the parameters that it will be given, with which the configuration is compared before memory is
            allocated for it.

    Raises:
        ValueError: they have other shapes, or a parameter of the encoder is missing.
    """
    require_layers(family, config, found)
    try:
        with torch.device("meta"):
            encoder: Any = family.build(config, vocab_size).encoder
            outline = head.build(config, outputs)
    except RuntimeError as error:  # a size beyond 64 bits
        raise ValueError(f"config.json: no model has these sizes ({str(error).splitlines()[0]})") from None
    require_shapes(found, TaskModel(encoder, outline))
    return TaskModel(encoder, head.build(config, outputs))


def _config(family: Family[Any], fields: Mapping[str, Any]) -> EncoderConfig:
    """Return the configuration of a directory's encoder."""
    config: EncoderConfig = family.export.config_from({**huggingface.default_fields(family), **fields})
    return config


def _of_encoder(
    family: Family[Any], head: TaskHead, config: EncoderConfig, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors of the encoder, and of the head those that it can begin with, under the names of this project.

    Raises:
        ValueError: a tensor of the encoder is missing or unknown.
    """
    theirs = {family.export.modern(name): value for name, value in tensors.items()}
    encoder = [parts[0] for ours, parts in family.export.names(1).items() if ours.startswith("encoder.")]
    of_encoder = tuple({".".join(name.split(".")[:2]) for name in encoder})
    pretrained: Names = {
        ours: parts for ours, parts in head.pretrained.items() if all(part in theirs for part in parts)
    }
    wanted = {part for parts in pretrained.values() for part in parts}
    kept = {name: value for name, value in theirs.items() if name in wanted or name.startswith(of_encoder)}
    return from_huggingface(_form(family, head.model_class, pretrained), kept)


def _form(family: Family[Any], model_class: str, head_names: Names, **fields: Any) -> Family[Any]:
    """Return the family with another class in `transformers`, which has these parameters behind the encoder.

    Buffers, and a pooler that the class lacks, are ignored, as some versions of `transformers` saved them.
    """
    wanted = {part for parts in head_names.values() for part in parts}
    ignored = {suffix for form in (family, *family.variants) for suffix in form.export.ignored}
    unwanted = sorted(suffix for suffix in ignored if not any(part.endswith(suffix) for part in wanted))

    def names(num_layers: int) -> Names:
        encoder = {ours: to for ours, to in family.export.names(num_layers).items() if ours.startswith("encoder.")}
        return {**encoder, **head_names}

    export = replace(
        family.export,
        model_class=model_class,
        names=names,
        config_to=lambda config, vocab_size: family.export.config_to(config, vocab_size) | fields,
        ties={},
        class_ties={},
        ignored=tuple(unwanted),
    )
    return replace(family, export=export, variants=(), parts=(), applies=lambda config: True)


def head_of(family: Family[Any], name: str) -> TaskHead:
    """Return a head of a family.

    Raises:
        ValueError: the family has no such head.
    """
    if name not in family.heads:
        raise ValueError(f"the family {family.name} has no head for this task; it has {', '.join(family.heads)}")
    return family.heads[name]


def write(
    family: Family[Any],
    head: TaskHead,
    weights: Mapping[str, Tensor],
    config: EncoderConfig,
    fields: Mapping[str, Any],
    tokenizer: Path,
    out: Path,
    card: str,
) -> None:
    """Write a task model as a directory of its class in `transformers`, which appears whole or not at all.

    Args:
        family: its family.
        head: its head.
        weights: its parameters.
        config: configuration of its encoder.
        fields: further fields of `config.json`: names of the classes.
        tokenizer: directory of the tokenizer.
        out: directory that is written; it must not exist.
        card: text of the model card.

    Raises:
        ValueError: `out` exists, or the parameters are not those of the head.
    """
    form = _form(family, head.model_class, {**head.pretrained, **head.new}, **fields)
    huggingface.export(form, weights, config, tokenizer, out, card)


def verify(directory: Path, head: TaskHead, batch: Batch, logits: Tensor) -> float:
    """Compare logits with those that `transformers` computes from a directory on the same tokens (law 7).

    Args:
        directory: the directory, which is removed if the logits differ.
        head: its head.
        batch: tokens without padding, on the CPU.
        logits: (B, C) or (T, C), computed here in fp32.

    Returns:
        The largest difference, relative to the largest logit if that is above 1.

    Raises:
        ValueError: it is above `verification.TOLERANCE`, or a parameter is missing or superfluous.
    """
    try:
        theirs = outputs_there(huggingface.load_whole(directory, head.model_class), batch, ["logits"], head.output)
        differences = largest_difference([theirs], [{"logits": logits}])
        require_same(differences)
    except ValueError as error:
        shutil.rmtree(directory)
        raise ValueError(f"{directory}: {error}") from None
    return differences["logits"]


def head_with(family: Family[Any], model_class: str) -> TaskHead | None:
    """Return the head of a family that belongs to a class of `transformers`; None if it has none."""
    return next((head for head in family.heads.values() if head.model_class == model_class), None)


def of_tensors(family: Family[Any], head: TaskHead, config: EncoderConfig, tensors: Mapping[str, Tensor]) -> TaskModel:
    """Return a task model in evaluation mode.

    Args:
        family: its family.
        head: its head, whose class in `transformers` has the parameters.
        config: configuration of its encoder.
        tensors: its parameters under their names in `transformers`.

    Raises:
        ValueError: they are not those of the head and the configuration.
    """
    found = from_huggingface(_form(family, head.model_class, {**head.pretrained, **head.new}), tensors)
    outputs = len(found[list(head.new)[-1]])
    model = build(family, head, config, len(found[family.word_embeddings]), outputs, found)
    model.load_state_dict(found, assign=True)
    return model.eval()


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model for predictions."""

    model: nn.Module
    """The model on the CPU, in evaluation mode."""
    family: Family[Any]
    head: str
    """Name of its head in the family, or of another kind of prediction."""
    config: EncoderConfig
    vocab_size: int
    """Number of rows of its word embeddings."""
    labels: tuple[str, ...]
    """Names of the classes; empty if it predicts numbers."""
    fields: Mapping[str, Any]
    """Content of its `config.json`."""


def read(directory: Path) -> Loaded:
    """Read a task model that `write`, or `transformers` itself, wrote.

    Raises:
        ValueError: it is no task model of a family, or its files do not fit together; the message names the directory.
    """
    fields, files = model_files.read_config(directory), model_files.weight_files(directory)
    named = model_files.architecture(directory / model_files.CONFIG, fields)
    family = get_family(family_of(directory))
    heads = {head.model_class: name for name, head in family.heads.items()}
    if named not in heads:
        raise ValueError(
            f"{directory / model_files.CONFIG}: architectures = {named!r}: must be one of {', '.join(heads)}; "
            "fine-tune the model first (python -m pipeline.finetune)"
        )
    head = family.heads[heads[named]]
    try:
        config = _config(family, fields)
        model = of_tensors(family, head, config, model_files.values(files))
        rows = len(model.state_dict()[family.word_embeddings])
        require_vocab_size(fields, rows)
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from None
    outputs = len(model.state_dict()[list(head.new)[-1]])
    is_number = fields.get("problem_type") == "regression" or outputs == 1
    labels = () if is_number else model_files.class_names(directory / model_files.CONFIG, fields, outputs)
    return Loaded(model, family, heads[named], config, rows, labels, fields)
