"""The recipe's section `[text]`: the columns of the examples, and their length."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TextConfig:
    """Columns and length of the examples."""

    max_length: int = 128
    """Number of tokens, special ones included, to which longer examples are cut."""
    first: str = "text"
    """Column of the text, or of the first text of a pair. The tasks of GLUE know their columns."""
    second: str = ""
    """Column of the second text; empty: examples have one text."""
    label: str = "label"
    """Column of the label."""
    regression: bool = False
    """Whether the label is a number to be predicted, and not the name of a class."""

    def __post_init__(self) -> None:
        if self.max_length < 3:
            raise ValueError(f"text.max_length = {self.max_length}: must be at least 3; special tokens are included")
