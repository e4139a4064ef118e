"""The inputs of a fine-tuning: the model with its tokenizer, and the examples of the task."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.conversion import huggingface, task_models, vocabulary
from pipeline.conversion.importing import family_of
from pipeline.conversion.task_models import Begun
from pipeline.families import get_family
from pipeline.families.base import Family, TaskHead
from pipeline.jobs.finetuning.recipe import SQUAD, SWAG, TOKENS, FinetuningRecipe
from pipeline.tasks.answering import read_answering
from pipeline.tasks.base import Task
from pipeline.tasks.choices import read_choices
from pipeline.tasks.classification import read_classification
from pipeline.tasks.encoding import Sequences, pieces_of, tokens_of
from pipeline.tasks.tokens import read_tokens


@dataclass(frozen=True, eq=False)
class Inputs:
    """The validated inputs of a run."""

    family: Family[Any]
    head: TaskHead
    begun: Begun
    sequences: Sequences
    task: Task


def open_inputs(recipe: FinetuningRecipe) -> Inputs:
    """Read the model and the examples.

    Raises:
        ValueError: the model or the data cannot be used; the message names the file and, of data, the line.
        OSError: a file cannot be read.
    """
    directory, data = Path(recipe.model), Path(recipe.data)
    if not data.is_dir():
        raise ValueError(f"data = {data}: must be a directory; give the one that holds the files of {recipe.task}")
    family = get_family(family_of(directory))
    tokenizer = huggingface.load_tokenizer(directory)
    vocabulary.require_consecutive(directory, tokenizer)
    sequences = read_sequences(directory, tokenizer, family, recipe.text.max_length)
    task = read_task(recipe, data, sequences, tokenizer)
    head, tuning = task_models.head_of(family, task.head), recipe.training
    begun = task_models.begin(
        directory, family, head, task.outputs, tuning.dropout, vocab_size=len(tokenizer), seed=recipe.seed
    )
    longest = huggingface.longest_sequence(family, begun.config)
    if recipe.text.max_length > longest:
        raise ValueError(
            f"text.max_length = {recipe.text.max_length}: must be at most {longest}, the positions of {directory}"
        )
    return Inputs(family, head, begun, sequences, task)


def read_sequences(directory: Path, tokenizer: Any, family: Family[Any], max_length: int) -> Sequences:
    """Return how a model reads text, by its tokenizer of `transformers`.

    Args:
        directory: directory of the model, for messages.
        tokenizer: its tokenizer.
        family: its family.
        max_length: number of tokens to which examples are cut.

    Raises:
        ValueError: the tokenizer lacks a special token of the family, or its padding token has another id.
    """
    ids = {role: getattr(tokenizer, f"{role}_token_id") for role in ("cls", "sep", "pad")}
    if missing := [role for role, number in ids.items() if number is None]:
        raise ValueError(
            f"{directory}: the tokenizer has no {missing[0]} token; take the tokenizer that the model was trained with"
        )
    required = family.template.pad_id
    if required is not None and ids["pad"] != required:
        raise ValueError(
            f"{directory}: the padding token has the id {ids['pad']}, the family {family.name} requires "
            f"{required}; take the tokenizer that the model was trained with"
        )
    return Sequences(tokens_of(tokenizer), ids, family.template, max_length)


def read_task(recipe: FinetuningRecipe, data: Path, sequences: Sequences, tokenizer: Any) -> Task:
    """Read the examples of the recipe's task."""
    if recipe.task == TOKENS:
        return read_tokens(data, recipe.tokens, sequences, pieces_of(tokenizer))
    if recipe.task == SQUAD:
        return read_answering(data, recipe.squad, sequences, pieces_of(tokenizer))
    if recipe.task == SWAG:
        return read_choices(data, sequences)
    balanced = recipe.training.class_weights == "balanced"
    return read_classification(recipe.task, data, recipe.text, sequences, balanced)


def checksum(task: Task) -> str:
    """Return a checksum of the training and dev examples, as tokens with their labels."""
    digest = hashlib.sha256()
    for split, encoded in sorted(task.splits.items()):
        digest.update(f"{split} {len(encoded)} {task.labels}".encode())
        for tokens in encoded.tokens:
            digest.update(tokens.tobytes())
        digest.update(encoded.boundaries.tobytes() + task.fingerprint(split))
    return digest.hexdigest()
