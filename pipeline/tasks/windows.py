"""Long texts as windows: a text with more tokens than a sequence has room for becomes several sequences.

Shapes: N texts, W windows, C logits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from pipeline.data.packing import Int64Array
from pipeline.tasks.base import Logits
from pipeline.tasks.config import TextConfig
from pipeline.tasks.encoding import Encoded, Sequences, encoded_of

Pooling = Literal["mean", "max"]
FIELD = "long_texts"
"""Field of `config.json` with a `WindowRule`, so that predictions divide texts as the fine-tuning did."""


@dataclass(frozen=True)
class WindowRule:
    """How texts are divided, and how the logits of their windows become those of the text."""

    max_length: int
    """Tokens of a window, special ones included."""
    stride: int
    """Tokens from the start of a window to that of the next one."""
    pooling: Pooling


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of texts."""

    encoded: Encoded
    """W windows, those of a text one after the other."""
    owners: Int64Array
    """(W,) number of the text of each, ascending; each text has a window."""


def rule_of(text: TextConfig) -> WindowRule:
    """Return the rule of a recipe."""
    return WindowRule(text.max_length, text.stride or max(1, text.max_length // 2), text.pooling)


def read_rule(fields: Mapping[str, Any]) -> WindowRule | None:
    """Return the rule in a `config.json`, or None if it has none.

    Raises:
        ValueError: the field is damaged.
    """
    if FIELD not in fields:
        return None
    found = fields[FIELD]
    try:
        rule = WindowRule(**found)
        numbers = (rule.max_length, rule.stride)
        if any(type(number) is not int or number < 1 for number in numbers) or rule.pooling not in get_args(Pooling):
            raise TypeError
    except TypeError:
        raise ValueError(
            f"{FIELD} = {found!r}: must have max_length, stride and pooling; restore config.json"
        ) from None
    return rule


def divide_texts(texts: Sequence[str], sequences: Sequences, rule: WindowRule) -> Windows:
    """Encode texts and divide them into windows; a text that fits is one window.

    Args:
        texts: N texts.
        sequences: how the model reads text.
        rule: how they are divided.

    Raises:
        ValueError: tokens between two windows would be in none of them.
    """
    room = rule.max_length - len(sequences.template.single) + 1
    if rule.stride > room:
        raise ValueError(
            f"text.stride = {rule.stride}: must be at most {room}, the tokens of a window without special ones"
        )
    tokens, owners = [], []
    for number, ids in enumerate(sequences.encode(list(texts))):
        whole = np.fromiter(ids, np.int32)
        for start in range(0, max(1, len(whole) - room + rule.stride), rule.stride):
            tokens.append(whole[start : start + room])
            owners.append(number)
    boundaries = np.array([len(window) for window in tokens], np.int64)
    return Windows(encoded_of(tokens, boundaries, sequences.template), np.array(owners, np.int64))


def pool(logits: Logits, owners: Int64Array, pooling: Pooling) -> Logits:
    """Return the logits (N, C) of texts from those of their windows (W, C).

    Args:
        logits: logits of the windows.
        owners: (W,) as in `Windows`.
        pooling: mean, or the largest of each class.
    """
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    if pooling == "max":
        return np.maximum.reduceat(logits, starts)
    counts = np.diff(starts, append=len(owners)).astype(np.float32)
    return (np.add.reduceat(logits, starts) / counts[:, None]).astype(np.float32)
