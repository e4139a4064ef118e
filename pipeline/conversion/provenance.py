"""What is known of the training of a checkpoint: its state, the floors of its run, and the manifest of its samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any

from pipeline.runlog.floors import Floors, floors_event, floors_of
from pipeline.runlog.reader import EVENTS, read_lines
from pipeline.runlog.terms import Term, terms_of
from pipeline.runtime.options import flatten
from preprocessing.files import sha256_file
from preprocessing.schema import MANIFEST_NAME, Manifest


@dataclass(frozen=True)
class Provenance:
    """The training of a checkpoint. What is not recorded is absent."""

    state: Mapping[str, Any]
    """Content of the checkpoint's state.json."""
    floors: Floors | None = None
    """Held-out losses of simple predictors on the same samples."""
    evaluated: int = 0
    """Number of held-out samples of an evaluation; 0: not recorded."""
    manifest: Manifest | None = None
    """Manifest of the samples with which the training ends."""

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Fields of the recipe by dotted name; empty for an imported checkpoint."""
        return flatten(self.state.get("recipe", {}))

    @property
    def terms(self) -> tuple[Term, ...]:
        """Terms of the loss."""
        return terms_of([self.state])

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(prod(shape) for shape in self.state["tensors"].values())

    def options(self, stage: str) -> Mapping[str, Any]:
        """Options of a stage of preprocessing that made the samples; empty if they are not recorded."""
        options: Mapping[str, Any] = self.manifest.config.get(stage, {}) if self.manifest else {}
        return options


def provenance_of(checkpoint: Path, state: Mapping[str, Any]) -> Provenance:
    """Return what is recorded of the training of a checkpoint.

    The events of its run are read if the checkpoint is in the run's directory. The manifest is read where the recipe
    names the samples, if it is there and is the one that the checkpoint was trained on.

    Args:
        checkpoint: directory of the checkpoint.
        state: content of its state.json.
    """
    lines, _ = read_lines(checkpoint.resolve().parent.parent / EVENTS)
    event = floors_event(line for line in lines if line.get("samples") == state.get("samples"))
    floors = floors_of([event]) if event else None
    heldout = event.get("heldout") if event else None
    evaluated = heldout if isinstance(heldout, int) else 0
    return Provenance(state, floors, evaluated, manifest_of(state))


def manifest_of(state: Mapping[str, Any]) -> Manifest | None:
    """Return the manifest of the samples of a checkpoint; None if it is absent, another one or of another version."""
    data = state.get("recipe", {}).get("data", {})
    directories = [*data.get("earlier_samples", []), data["samples"]] if data.get("samples") else []
    paths = [Path(directory) / MANIFEST_NAME for directory in directories]
    if not paths or not all(path.is_file() for path in paths):
        return None
    checksums = [sha256_file(path) for path in paths]
    whole = checksums[0] if len(paths) == 1 else sha256("".join(checksums).encode()).hexdigest()
    if whole != state.get("samples"):
        return None
    try:
        return Manifest.from_json(paths[-1].read_text(encoding="utf-8"), paths[-1])
    except ValueError:
        return None
