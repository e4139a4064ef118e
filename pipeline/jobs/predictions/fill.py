"""The most likely words for the masks in texts, by a model with a head for masked tokens."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.checkpoints import model_files
from pipeline.conversion.importing import ImportOptions, family_of, read_model
from pipeline.conversion.layouts import registry
from pipeline.conversion.task_models import Loaded
from pipeline.families import get_family
from pipeline.families.base import Family
from pipeline.jobs.inference import batches_by_length
from pipeline.jobs.predictions.base import Predictor, Reading
from pipeline.tasks.classification import texts_of
from pipeline.tasks.encoding import encode
from pipeline.tasks.tables import Row

KIND = "fill"
NEW_HEADS = ImportOptions(new_heads=True)
"""Heads that are missing are drawn anew; those that no export has may be missing."""
Guesses = list[tuple[int, float]]
"""Tokens with their probabilities, the most likely one first."""


def load(directory: Path, tokenizer: Any) -> Loaded:
    """Read a pre-trained model with its head for masked tokens.

    Args:
        directory: a model of a family, with the head.
        tokenizer: its tokenizer of `transformers`.

    Raises:
        ValueError: it is no such model, or its files do not fit together; the message names the directory.
    """
    if tokenizer.mask_token_id is None:
        raise ValueError(f"{directory}: the tokenizer has no mask token; take a model that was trained with one")
    found = read_model(part_in(directory, get_family(family_of(directory))), registry.read(directory), NEW_HEADS)
    unexported = found.form.export.unexported  # heads that fill no masks, and that no exported model has
    if not all(name.startswith(unexported) for name in found.new):
        raise ValueError(
            f"{directory}: --kind fill needs the head for masked tokens, which is missing; name a pre-trained model"
        )
    model = found.form.build(found.config, found.vocab_size)
    model.load_state_dict(found.state_dict)
    if not hasattr(model, "logits"):
        raise ValueError(f"{directory}: a model of the family {found.form.name} gives no probabilities of words")
    return Loaded(model.eval(), found.form, KIND, found.config, found.vocab_size, (), {})


def part_in(directory: Path, family: Family[Any]) -> Family[Any]:
    """Return the part of a family whose class a directory names, such as ELECTRA's generator; else the family."""
    named = model_files.architecture(directory / model_files.CONFIG, model_files.read_config(directory))
    further = [part.family for part in family.parts if part.directory]
    return next((part for part in further if part.export.model_class == named), family)


def columns(reading: Reading) -> tuple[str, ...]:
    """Return the column of the text, `text` by default.

    Raises:
        ValueError: there is a second column.
    """
    if reading.second:
        raise ValueError(f"--second {reading.second}: masks are filled in one text; remove the option")
    return (reading.first or "text",)


def predict(predictor: Predictor, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield each text with the words for each of its masks, from left to right.

    Raises:
        ValueError: a row lacks a text, or its text has no mask; the message names file and line.
    """
    (name,) = columns(predictor.reading)
    texts = [texts_of(row, (name,)) for row in rows]
    words = guesses(predictor, texts)
    tokenizer = predictor.tokenizer
    for number, (text,) in enumerate(texts):
        if number not in words:
            raise ValueError(
                f"{rows[number].place}: {name} = {text[:60]!r}: has no {tokenizer.mask_token} in its first "
                f"{predictor.sequences.max_length} tokens; put one where a word is to be filled in"
            )
        yield {
            name: text,
            "masks": [
                [{"word": str(tokenizer.decode(token)).strip(), "score": round(score, 6)} for token, score in mask]
                for mask in words[number]
            ],
        }


@torch.inference_mode()
def guesses(predictor: Predictor, texts: list[tuple[str, ...]]) -> dict[int, list[Guesses]]:
    """Return the guesses for each mask of each text that has one, by the number of the text."""
    model: Any = predictor.loaded.model
    encoded = encode(texts, predictor.sequences)
    device = next(model.parameters()).device
    found: dict[int, list[Guesses]] = {}
    for examples, batch in batches_by_length(encoded, predictor.sequences, predictor.reading.max_tokens, device):
        places = (batch.input_ids == predictor.tokenizer.mask_token_id).nonzero()[:, 0]  # (R,)
        if not len(places):
            continue
        probabilities = model.logits(batch, places).float().softmax(1)  # (R, V)
        best = probabilities.topk(min(predictor.reading.top, probabilities.shape[1]))
        owners = torch.bucketize(places, batch.cu_seqlens.long(), right=True) - 1
        for owner, tokens, scores in zip(owners.tolist(), best.indices.tolist(), best.values.tolist(), strict=True):
            found.setdefault(int(examples[owner]), []).append(list(zip(tokens, scores, strict=True)))
    return found
