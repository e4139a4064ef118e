"""Sections of the recipe of fine-tuning that concern the examples of tasks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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
    long: Literal["cut", "window"] = "cut"
    """Texts longer than max_length are cut, or divided into windows: each window is an example with the label of its
    text, and the logits of a text's windows are pooled for metrics and predictions."""
    stride: int = 0
    """Tokens from the start of a window to that of the next one; 0: half of max_length."""
    pooling: Literal["mean", "max"] = "mean"
    """How the logits of a text's windows become those of the text: their mean, or the largest of each class."""

    def __post_init__(self) -> None:
        if self.max_length < 3:
            raise ValueError(f"text.max_length = {self.max_length}: must be at least 3; special tokens are included")
        if self.stride < 0:
            raise ValueError(f"text.stride = {self.stride}: must be at least 0; 0 is half of text.max_length")
        if self.long == "cut" and (self.stride or self.pooling != "mean"):
            name = "stride" if self.stride else "pooling"
            raise ValueError(f"text.{name} = {getattr(self, name)}: has no effect; set text.long = window")
        if self.long == "window" and self.second:
            raise ValueError("text.long = window: pairs of texts are not divided; remove text.second, or set cut")


@dataclass(frozen=True)
class TokensConfig:
    """Columns of the files of the task tokens, counted from 0; negative numbers count from the last column."""

    word_column: int = 0
    """Column of the word."""
    tag_column: int = -1
    """Column of its tag."""


@dataclass(frozen=True)
class SquadConfig:
    """Files of the task squad, the windows of their contexts, and the answers that are predicted."""

    train: str = ""
    """Name of the file with the training articles in the form of SQuAD, .json or .json.gz; empty: the only one whose
    name begins with train."""
    dev: str = ""
    """Name of the file with the dev articles; empty: the only one whose name begins with dev."""
    dev_share: float = 0.0
    """Share of the articles of the training file that are the dev split instead; 0: dev has a file of its own."""
    version: Literal["auto", "1.1", "2.0"] = "auto"
    """Whether questions may have no answer: 1.1: no; 2.0: yes; auto: if a question has the field is_impossible."""
    stride: int = 128
    """Tokens from the start of a window of the context to that of the next one."""
    max_question: int = 64
    """Number of tokens to which longer questions are cut."""
    max_answer: int = 30
    """Number of tokens of the longest answer that is predicted."""
    n_best: int = 20
    """Number of answers to a question that are compared and written."""

    def __post_init__(self) -> None:
        for name in ("stride", "max_question", "max_answer", "n_best"):
            if getattr(self, name) < 1:
                raise ValueError(f"squad.{name} = {getattr(self, name)}: must be at least 1")
        if not 0 <= self.dev_share < 1:
            raise ValueError(f"squad.dev_share = {self.dev_share}: must be at least 0 and below 1")
        if self.dev and self.dev_share:
            raise ValueError(
                f"squad.dev = {self.dev}: squad.dev_share takes dev from the training file; remove one of the two"
            )
        for name in ("train", "dev"):
            if Path(getattr(self, name)).name != getattr(self, name):
                raise ValueError(
                    f"squad.{name} = {getattr(self, name)}: must be the name of a file in data, without directories"
                )
