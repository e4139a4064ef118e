"""What an export is asked to write, and what it has written."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.conversion.forms import ENCODER_IN_PARTS, FORMS, IN_PARTS, Form


@dataclass(frozen=True)
class Publication:
    """What the publisher of a model states in its card."""

    license: str = ""
    """Identifier of the licence; empty: none is stated."""
    language: list[str] = field(default_factory=list)
    """Codes of the languages of the text; empty: that of the samples, if they record it."""
    datasets: list[str] = field(default_factory=list)
    """Identifiers of data sets on the hub."""


@dataclass(frozen=True)
class Options:
    """What an export writes."""

    form: str = "pretraining"
    """Key of `FORMS`: the class of the model."""
    averaged: bool = False
    """Whether the averaged weights are written."""
    dtype: str = "float32"
    """Type of the weights."""
    max_shard_size: str = "5GB"
    """Bound on the size of a file of weights."""
    labels: int = 0
    """Number of classes of a new head; 0: two, as in `transformers`."""
    seed: int = 0
    """Seed of parameters that are drawn."""
    publication: Publication = field(default_factory=Publication)
    """What the model card states beside what is recorded."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9]\d*(KB|MB|GB|TB)", self.max_shard_size):
            raise ValueError(
                f"--max_shard_size = {self.max_shard_size}: must be a whole number with its unit KB, MB, GB or TB, "
                "such as 5GB"
            )
        if self.labels < 0:
            raise ValueError(f"--labels = {self.labels}: must be at least 1, or 0 for two classes")
        if self.labels and not FORMS[self.form].labelled:
            forms = " or ".join(name for name, form in FORMS.items() if form.labelled)
            raise ValueError(f"--labels = {self.labels}: has no effect with --as {self.form}; use it with --as {forms}")


@dataclass(frozen=True)
class Exported:
    """What an export has written."""

    source: Path
    """Directory of the checkpoint."""
    model_class: str
    """Class in `transformers`."""
    options: Options
    new: tuple[str, ...]
    """Parameters that were drawn, under their names in `transformers`."""
    left_out: tuple[str, ...]
    """Parameters of the checkpoint that the class does not have."""
    differences: Mapping[str, float]
    """Name of a compared output -> largest difference from `transformers`."""
    fields: Mapping[str, Any]
    """Its configuration, under the names of this project."""
    rounding: Mapping[str, float] = field(default_factory=dict)
    """Name of an output -> largest change by the rounding of the weights; empty in fp32."""
    further: Mapping[str, "Exported"] = field(default_factory=dict)
    """Directory below -> the part of the model in it, such as ELECTRA's generator."""
    unread: tuple[str, ...] = ()
    """Names of the parameters in its files that `transformers` ignores, but an import reads."""
    omitted: tuple[str, ...] = ()
    """Classes of the parts of the model that are not written."""

    @property
    def form(self) -> Form:
        """What the model is for."""
        if not self.further:
            return FORMS[self.options.form]
        return ENCODER_IN_PARTS if self.model_class.endswith("Model") else IN_PARTS  # a class without a head, or with

    @property
    def all_differences(self) -> dict[str, float]:
        """The differences of all parts."""
        return self._of_all(lambda part: part.differences)

    @property
    def all_rounding(self) -> dict[str, float]:
        """The changes by rounding of all parts."""
        return self._of_all(lambda part: part.rounding)

    @property
    def all_unread(self) -> tuple[str, ...]:
        """The parameters of all parts that `transformers` ignores."""
        return (*self.unread, *(name for part in self.further.values() for name in part.unread))

    def _of_all(self, figures: Callable[["Exported"], Mapping[str, float]]) -> dict[str, float]:
        parts = self.further.items()
        below = {f"{name} of the {place}": value for place, part in parts for name, value in figures(part).items()}
        return {**figures(self), **below}

    @property
    def text(self) -> str:
        """What has been written and how it was compared, one line each."""
        lines = [f"{self.model_class}, {self.options.dtype}"]
        lines += [f"{place}: {part.model_class}" for place, part in self.further.items()]
        left_out = [*self.omitted, *modules_of(self.left_out)]
        lines += [f"left out: {', '.join(left_out)}"] if left_out else []
        unread = modules_of(self.all_unread)
        lines += [f"in the files, but ignored by transformers: {', '.join(unread)}"] if unread else []
        lines += [f"new and untrained, seed {self.options.seed}: {', '.join(self.new)}"] if self.new else []
        lines += [f"rounding changes the {name} by {value:.1e}" for name, value in self.all_rounding.items()]
        same = ", ".join(f"{name} {value:.1e}" for name, value in self.all_differences.items())
        return "\n".join([*lines, f"largest difference from transformers: {same}"])


def modules_of(names: Sequence[str]) -> list[str]:
    """Return the outermost modules that have the named parameters, in alphabetical order."""
    modules = sorted({name.rpartition(".")[0] for name in names})
    return [module for module in modules if not any(module.startswith(f"{other}.") for other in modules)]
