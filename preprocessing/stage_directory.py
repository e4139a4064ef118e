"""Output directory of a stage: its configuration, its finished files, its completion.

`stage.json`, written first, has everything that determines the content: the configuration and the identity of the
input. Each finished file is recorded in `progress/`. The manifest, written last, completes the directory, and
`progress/` is removed. A killed run therefore resumes when the same command is run again.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from preprocessing.errors import DataError
from preprocessing.files import is_temporary, read_json, sha256_file, write_json
from preprocessing.schema import FORMAT_VERSION, MANIFEST_NAME

LOG = logging.getLogger("preprocessing")
STAGE_NAME = "stage.json"
_PROGRESS = "progress"
UNREADABLE_INPUT = "cannot be read"
"""Prefix of the identity of an input that could not be read."""
_DIFFERENCES_SHOWN = 5


def open_stage(directory: Path, stage: str, config: dict[str, Any], inputs: dict[str, str]) -> bool:
    """Claims a directory for a stage with this configuration, or reopens one with the same configuration.

    Args:
        directory: output directory of the stage.
        stage: name of the stage.
        config: options of the stage.
        inputs: identity of the content of each input, by name.

    Returns:
        Whether the directory is complete already.

    Raises:
        DataError: the directory has other content, or was started with another configuration or input.
    """
    stamp = {"stage": stage, "format_version": FORMAT_VERSION, "config": config, "inputs": inputs}
    wanted = json.loads(json.dumps(stamp))
    if directory.is_dir():
        for leftover in [*filter(is_temporary, directory.rglob(".*"))]:
            leftover.unlink()
    if (directory / STAGE_NAME).is_file():
        if not _start_again(directory, wanted):
            _check_same(directory, wanted)
    else:
        check_vacant(directory)
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / STAGE_NAME, wanted)
    if (directory / MANIFEST_NAME).is_file():
        _remove_progress(directory)  # A run may be killed just after writing the manifest.
        LOG.info(f"{directory}: is complete")
        return True
    (directory / _PROGRESS).mkdir(exist_ok=True)
    return False


def stage_config(directory: Path) -> dict[str, Any]:
    """The configuration that `open_stage` recorded."""
    return read_json(directory / STAGE_NAME)["config"]


def check_vacant(directory: Path) -> None:
    """Checks that a directory does not exist, or contains only temporary files of a killed run.

    Raises:
        DataError: it has other content.
    """
    if directory.exists() and not directory.is_dir():
        raise DataError(f"{directory}: is a file, expected a directory; give another --out")
    if directory.exists() and not _is_vacant(directory):
        names = sorted(path.name for path in directory.iterdir())
        raise DataError(
            f"{directory}: holds {', '.join(names[:3])}{' ...' * (len(names) > 3)}, which this program did not make; "
            "give an --out that is new or empty"
        )


def finish_file(
    directory: Path,
    name: str,
    make: Callable[[], dict[str, Any]],
    is_final: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> dict[str, Any]:
    """The entry of a file of the stage: of an earlier run if the file is intact, otherwise of the file that `make`
    writes.

    Args:
        directory: directory of the stage.
        name: name of the entry.
        make: writes one file into the directory; its entry has at least `path`, `bytes` and `sha256`.
        is_final: whether a file with this entry is kept; false if an error in it may have been corrected since.
    """
    marker = directory / _PROGRESS / f"{name}.json"
    if marker.is_file():
        record = read_json(marker)
        path = directory / record["path"]
        is_whole = path.is_file() and path.stat().st_size == record["bytes"] and sha256_file(path) == record["sha256"]
        if is_whole and is_final(record):
            return record
    record = make()
    write_json(marker, record)
    return record


def complete_stage(directory: Path, publish: Callable[[], None]) -> None:
    """Completes a directory whose files are all finished: `publish` writes its manifest."""
    publish()
    _remove_progress(directory)


def _remove_progress(directory: Path) -> None:
    if (directory / _PROGRESS).exists():
        shutil.rmtree(directory / _PROGRESS)


def _start_again(directory: Path, wanted: dict[str, Any]) -> bool:
    """Empties an unfinished directory if only inputs have changed that could not be read before.

    Their sizes determine how the input is split, so files of the earlier run are no longer valid.

    Returns:
        Whether the directory was emptied.
    """
    found = read_json(directory / STAGE_NAME)
    old, new = found.get("inputs"), wanted["inputs"]
    if (directory / MANIFEST_NAME).is_file() or not isinstance(old, dict):
        return False
    changed = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    if not changed or not all(str(old.get(path)).startswith(UNREADABLE_INPUT) for path in changed):
        return False
    if found | {"inputs": new} != wanted:
        return False
    LOG.info(f"{directory}: restarts, because {min(changed)} could not be read before")
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != STAGE_NAME:
            path.unlink()
    write_json(directory / STAGE_NAME, wanted)
    return True


def _is_vacant(path: Path) -> bool:
    return all(map(_is_vacant, path.iterdir())) if path.is_dir() else is_temporary(path)


def _check_same(directory: Path, wanted: dict[str, Any]) -> None:
    found = read_json(directory / STAGE_NAME)
    if differences := list(_differences(found, wanted)):
        shown = "; ".join(differences[:_DIFFERENCES_SHOWN])
        more = f"; and {len(differences) - _DIFFERENCES_SHOWN} more" * (len(differences) > _DIFFERENCES_SHOWN)
        raise DataError(
            f"{directory}: was made with another configuration or input: {shown}{more}. "
            "Give the same options as before, another --out, or remove this directory"
        )


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    for name in sorted(found.keys() | wanted.keys()):
        old, new = found.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new)
        elif old != new:
            yield f"{name} was {json.dumps(old)}, is {json.dumps(new)}"
