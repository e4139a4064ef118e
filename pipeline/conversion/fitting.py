"""Whether the files of a model belong together: the weights, `config.json` and the tokenizer.

The checks come before memory is allocated for a model, so that a wrong size in `config.json` is an error at once.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from pipeline.conversion.names import count_layers
from pipeline.families.base import Family
from pipeline.model.config import EncoderConfig

MOST_PADDING = 1024
"""Rows behind the tokenizer's last token that a vocabulary may be padded with. Megatron-LM pads most: to a multiple of
128 times the number of GPUs that a model is divided among, 8 as a rule."""


def require_layers(family: Family[Any], config: EncoderConfig, state: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless an encoder has as many distinct layers as its configuration says.

    Args:
        family: family of the model.
        config: its configuration.
        state: its parameters under the names of this project.
    """
    layers = count_layers(family, state)
    if layers != config.distinct_layers:
        raise ValueError(
            f"config.json: num_hidden_layers = {config.num_hidden_layers}, but the weights hold {layers} layers; "
            "take both files from the same model"
        )


def require_shapes(found: Mapping[str, Tensor], model: nn.Module) -> None:
    """Raise ValueError unless parameters have the shapes of a model, and those of its encoder are complete.

    Args:
        found: the parameters under the names of this project.
        model: the model of `config.json`, which may be on the meta device.
    """
    expected = model.state_dict()
    for name, value in found.items():
        if name not in expected or expected[name].shape != value.shape:
            shape = tuple(expected[name].shape) if name in expected else "absent"
            raise ValueError(
                f"{name} is {tuple(value.shape)} in the weights, {shape} according to config.json; take both files "
                "from the same model"
            )
    if missing := [name for name in expected if name.startswith("encoder.") and name not in found]:
        raise ValueError(f"the weights lack {missing[0]}, which config.json requires; take both files from one model")


def require_vocab_size(fields: Mapping[str, Any], rows: int) -> None:
    """Raise ValueError unless the word embeddings have as many rows as `config.json` says, if it says so.

    Args:
        fields: content of `config.json`.
        rows: number of rows of the word embeddings.
    """
    if fields.get("vocab_size", rows) != rows:
        raise ValueError(
            f"config.json: vocab_size = {fields['vocab_size']!r}, but the weights hold {rows} tokens; "
            "take both files from the same model"
        )


def require_rows(rows: int, tokens: int) -> None:
    """Raise ValueError unless the word embeddings of a model have a row for each id of its tokenizer.

    Args:
        rows: number of rows of the word embeddings.
        tokens: number of ids of the tokenizer.
    """
    if tokens > rows:
        raise ValueError(f"the weights hold {rows:,} tokens, the tokenizer {tokens:,}; take both from the same model")


def padding_of(rows: int, vocab_size: int) -> int:
    """Return the number of rows of the word embeddings behind the tokenizer's last token.

    Raises:
        ValueError: it is negative, or more than `MOST_PADDING`.
    """
    require_rows(rows, vocab_size)
    if rows - vocab_size > MOST_PADDING:
        raise ValueError(
            f"the weights hold {rows:,} tokens, the tokenizer {vocab_size:,}, so that it seems to be that of another "
            "model; take both from the same model, or, if they are, remove the further rows (python -m "
            "pipeline.convert import --extra_rows trim, then export)"
        )
    return rows - vocab_size
