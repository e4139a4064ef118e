"""The JSON files of a checkpoint, validated when they are read: keys, types, ranges.

Valid JSON may still have another structure: another program has written it, or a user has edited or copied it. That is
damage like a truncated file, and is reported as such, so that the checkpoint before can be used.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from preprocessing.files import read_json, unreadable

FORMAT_VERSION = 1
_NAME = re.compile(r"step-(\d{8,})")


class DamagedError(ValueError):
    """A checkpoint differs from what was written; the message names the file, the damage and the remedy."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}; copy the checkpoint again, or use another one")


def step_in(name: str) -> int | None:
    """The step in the name of a run's checkpoint directory; None if it is not exactly such a name."""
    matched = _NAME.fullmatch(name)
    return int(matched[1]) if matched and name == name_of(int(matched[1])) else None


def name_of(step: int) -> str:
    """Name of the directory of a step's checkpoint."""
    return f"step-{step:08d}"


def step_of(directory: Path) -> int:
    """The step in a checkpoint's name."""
    return int(directory.name.rpartition("-")[2])


def present(run: Path) -> list[Path]:
    """The run's checkpoint directories, newest first, whether they are complete or not."""
    folder = run / "checkpoints"
    if not folder.exists():
        return []
    # Not glob, which takes a directory that cannot be read for an empty one.
    found = [path for path in folder.iterdir() if step_in(path.name) is not None and path.is_dir()]
    return sorted(found, key=step_of, reverse=True)


def complete(run: Path) -> list[Path]:
    """The run's checkpoints that have a manifest, newest first."""
    return [path for path in present(run) if (path / "manifest.json").is_file()]


def is_count(value: Any) -> bool:
    """Whether a value is an integer of at least 0; JSON's true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_shapes(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(shape, list) and all(is_count(size) and size for size in shape) for shape in value.values())
    )


def _is_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _is_metrics(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_numbers, value.values()))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_evaluated(value: Any) -> bool:
    return value == -1 or is_count(value)


Rule = tuple[Callable[[Any], bool], str]
_COUNT: Rule = (is_count, "an integer of at least 0")
_TEXT: Rule = (_is_text, "text")
_NUMBERS: Rule = (_is_numbers, "an object of numbers")
_OBJECT: Rule = (_is_object, "an object")

STATE: Mapping[str, Rule] = {
    "step": _COUNT,
    "consumed_samples": _COUNT,
    "optimizer_step": _COUNT,
    "family": _TEXT,
    "model": _OBJECT,
    "vocab_size": (lambda value: is_count(value) and value > 0, "an integer of at least 1"),
    "tensors": (_is_shapes, "an object of shapes"),
    "metrics": (_is_metrics, "an object of objects of numbers"),
}
"""Keys of every state.json, and what their values must be."""
RUN_STATE: Mapping[str, Rule] = {"samples": _TEXT, "recipe": _OBJECT, "loss_scaler": _NUMBERS}
"""Further keys of a checkpoint that a run wrote, as opposed to one that was imported."""
OPTIONAL: Mapping[str, Rule] = {
    **RUN_STATE,
    "evaluated_step": (_is_evaluated, "an integer of at least -1"),
    "skipped_steps": _COUNT,
    "skipped_in_a_row": _COUNT,
    "interval": _NUMBERS,
}


_SUMS_BEFORE_TERMS = {"pair_loss": "nsp_loss", "pair_correct": "nsp_correct"}
"""Sums since the last log line in checkpoints that were written before terms had names -> their names today."""


def read_manifest(directory: Path) -> dict[str, dict[str, Any]]:
    """Size and checksum of each file, by its name in the directory.

    Raises:
        DamagedError: there is no manifest, or it is of another shape, or names a file outside the directory.
        ValueError: the format is another version.
        OSError: it cannot be read.
    """
    path = directory / "manifest.json"
    manifest = _read(path)
    if "format_version" in manifest and is_count(manifest["format_version"]):
        if manifest["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"{path}: format_version = {manifest['format_version']}, this version reads {FORMAT_VERSION}; use the "
                "version that wrote it"
            )
    else:
        raise DamagedError(path, "format_version is missing or no number: damaged")
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise DamagedError(path, "files is missing or no object: damaged")
    for name, entry in files.items():
        if not (_is_object(entry) and is_count(entry.get("bytes")) and _is_text(entry.get("sha256"))):
            raise DamagedError(path, f"files.{name} holds no bytes and sha256: damaged")
        if not (directory / name).resolve().is_relative_to(directory.resolve()):
            raise DamagedError(path, f"file name {name!r} leaves the directory: damaged")
    if "state.json" not in files or not any(name.endswith(".safetensors") for name in files):
        raise DamagedError(path, "lists no state.json or no .safetensors: damaged")
    return files


def read_state(directory: Path) -> dict[str, Any]:
    """The plain values of a checkpoint.

    Raises:
        DamagedError: there is no state.json, or it lacks a value, or holds one that cannot be; also if the directory
            is named after another step.
        OSError: it cannot be read.
    """
    path = directory / "state.json"
    state = _read(path)
    for key, rule in STATE.items():
        _check(path, state, key, rule)
    for key in OPTIONAL.keys() & state.keys():
        _check(path, state, key, OPTIONAL[key])
    if "interval" in state:
        state["interval"] = {_SUMS_BEFORE_TERMS.get(name, name): value for name, value in state["interval"].items()}
    named = step_in(directory.name)
    if named is not None and named != state["step"]:
        raise DamagedError(path, f"step = {state['step']}, but the directory is named {directory.name}: damaged")
    return state


def check_run_state(directory: Path, total_steps: int) -> dict[str, Any]:
    """The state of a checkpoint from which a run resumes.

    Args:
        directory: one of the run's checkpoints.
        total_steps: of the run.

    Raises:
        DamagedError: as `read_state`; or it lacks what a run writes, or holds a position that the run cannot have.
        OSError: it cannot be read.
    """
    path = directory / "state.json"
    state = read_state(directory)
    for key, rule in RUN_STATE.items():
        _check(path, state, key, rule)
    step = state["step"]
    # Under another recipe, other numbers are right: the caller compares the recipes and names what differs.
    if _in(state["recipe"], "schedule", "total_steps") == total_steps and step > total_steps:
        raise DamagedError(path, f"step = {step}, but the run has {total_steps} steps: damaged")
    if any(not math.isfinite(value) for value in state["loss_scaler"].values()):
        raise DamagedError(path, "loss_scaler holds what is no finite number: damaged")
    return state


def _in(recipe: Mapping[str, Any], section: str, key: str) -> Any:
    values = recipe.get(section)
    return values.get(key) if isinstance(values, dict) else None


def _check(path: Path, state: Mapping[str, Any], key: str, rule: Rule) -> None:
    fits, wanted = rule
    if key not in state:
        raise DamagedError(path, f"{key} is missing: damaged or not ours")
    if not fits(state[key]):
        shown = repr(state[key])
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise DamagedError(path, f"{key} = {shown}: must be {wanted}: damaged or not ours")


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise DamagedError(path, "missing: the checkpoint is incomplete") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError as error:
        raise DamagedError(path, str(error).removeprefix(f"{path}: ").partition(";")[0]) from None
