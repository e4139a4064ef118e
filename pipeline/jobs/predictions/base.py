"""The interface of a kind of prediction, and what all kinds are given."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.conversion.task_models import Loaded
from pipeline.tasks.encoding import Sequences
from pipeline.tasks.tables import Row


@dataclass(frozen=True)
class Reading:
    """How examples are read, and what is predicted."""

    first: str
    """Column with the text; empty: the kind's own name for it."""
    second: str
    """Column with the second text of a pair; empty: the kind's own name for it, or none."""
    max_length: int
    """Tokens of the longest sequence, to which longer examples are cut or divided; 0: the positions of the model."""
    max_tokens: int
    """Bound on the tokens that are computed at once."""
    kind: str = ""
    """Kind of the prediction; empty: that of the model's head."""
    normalize: bool = False
    """Whether embeddings have the length 1."""
    top: int = 5
    """Number of words for each mask."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model with its tokenizer."""

    loaded: Loaded
    """The model, on its device."""
    tokenizer: Any
    """Its tokenizer of `transformers`."""
    sequences: Sequences
    """How it reads text."""
    reading: Reading
    """How examples are read."""


class Kind(Protocol):
    """A kind of prediction: a module of this package."""

    def columns(self, reading: Reading) -> tuple[str, ...]:
        """Return the columns with the one or two texts of an example."""

    def predict(self, predictor: Predictor, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
        """Yield what is written for each row, in their order.

        Raises:
            ValueError: a row cannot be read; the message names file and line.
        """
