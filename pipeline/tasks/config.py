"""Sections of the recipe of fine-tuning that concern the examples of tasks."""

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


@dataclass(frozen=True)
class TokensConfig:
    """Columns of the files of the task tokens, counted from 0; negative numbers count from the last column."""

    word_column: int = 0
    """Column of the word."""
    tag_column: int = -1
    """Column of its tag."""
