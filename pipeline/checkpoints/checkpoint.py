"""The format of checkpoints: fp32 weights and moments by tensor name, without pickle, for any number of ranks.

    RUN/checkpoints/step-00000100/
        rank-00000.safetensors    the fragments that rank 0 holds: `weight|NAME|OFFSET`, `exp_avg|...`, `exp_avg_sq|...`
                                   (Muon's matrices have no `exp_avg_sq`) and, where weights are averaged,
                                   `average|...`
        state.json                step, consumed_samples, optimizer step, shapes, recipe, loss scaling, metrics
        tokenizer/                as transformers loads it, so that a checkpoint can be exported wherever it is copied
        manifest.json             size and sha256 of each file

Every rank writes what it holds, in parallel and in the background (`pipeline.checkpoints.saving`). The directory
appears under its name only when it is complete (temporary directory, fsync, rename), so a killed run leaves either a
whole checkpoint or none. A fragment says which elements of which tensor it holds; loading takes whatever overlaps with
the fragments of the new run, so any world size and ZeRO stage can continue, and the same world size continues bit for
bit. Nothing of the random state is stored: masks and dropout are functions of (seed, step, sample)."""

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipeline.checkpoints.config import CheckpointConfig
from pipeline.checkpoints.model_files import tokenizer_files
from pipeline.checkpoints.record import (
    FORMAT_VERSION,
    DamagedError,
    complete,
    present,
    read_manifest,
    read_state,
    step_of,
)
from pipeline.optim.shards import Shard
from pipeline.runtime import distributed, faults
from preprocessing.files import flush, readable, sha256_file, write_json

Config = TypeVar("Config")

PARTS = ("weight", "exp_avg", "exp_avg_sq", "average")


def temporary_of(final: Path) -> Path:
    """The directory in which a checkpoint is assembled."""
    return final.with_name(f".{final.name}.tmp")


def rank_file(rank: int) -> str:
    """Name of the file that a rank writes."""
    return f"rank-{rank:05d}.safetensors"


def sweep(run: Path) -> None:
    """Remove unpublished checkpoints of a killed run; call on the main rank, before the first one is begun."""
    for path in (run / "checkpoints").glob(".step-*.tmp"):
        shutil.rmtree(path)


def publish(temporary: Path, final: Path, state: dict[str, Any], entries: dict[str, Any], tokenizer: Path) -> None:
    """Add tokenizer, state.json and manifest.json to a directory of tensor files and give it its final name."""
    write_json(temporary / "state.json", state)
    faults.reach("state written")
    copy_files(tokenizer_files(tokenizer), temporary / "tokenizer")
    for path in (temporary / "state.json", *sorted((temporary / "tokenizer").iterdir())):
        entries = entries | {str(path.relative_to(temporary)): manifest_entry(path)}
    write_json(temporary / "manifest.json", {"format_version": FORMAT_VERSION, "files": entries})
    faults.reach("manifest written")
    if final.exists():  # a step trained again after an older checkpoint was chosen
        remove(final)
    os.rename(temporary, final)
    flush(final.parent)
    faults.reach("checkpoint renamed")


def copy_files(files: Iterable[Path], target: Path) -> None:
    """Copy files into a directory, with the permissions of new files whatever those of the source are."""
    target.mkdir(exist_ok=True)
    for path in files:
        shutil.copyfile(path, target / path.name)


def remove(directory: Path) -> None:
    """Delete a checkpoint. It is renamed first, so that what a kill leaves of it is no checkpoint, and is swept."""
    doomed = directory.with_name(f".{directory.name}.old.tmp")
    os.rename(directory, doomed)
    shutil.rmtree(doomed)


def tensor_table(shards: list[Shard]) -> dict[str, Any]:
    """Shapes of all tensors and the number of updates behind the moments."""
    shapes = {name: list(shape) for shard in shards for name, shape in zip(shard.names, shard.shapes, strict=True)}
    return {"tensors": shapes, "optimizer_step": max((shard.state.get("step", 0) for shard in shards), default=0)}


def fragments(shards: list[Shard]) -> Iterator[tuple[str, Tensor]]:
    """The fragments that this rank writes: (`PART|NAME|OFFSET`, values as a view of the shard).

    Tensors that every rank holds whole (ZeRO stage 0) are distributed over the ranks, so that each is written once.
    """
    for number, shard in enumerate(shards):
        if shard.replicated and number % distributed.world_size() != distributed.rank():
            continue
        for part, values in shard.tensors.items():
            for tensor, start, stop, offset in shard.fragments:
                yield f"{part}|{shard.names[tensor]}|{offset}", values[start:stop]


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> dict[str, Any]:
    """Write `tensors`, and texts beside them, to `path`, flushed to disk; returns its size and checksum.

    Raises:
        OSError: the disk is full, read-only or broken.
    """
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)  # what the user's umask makes of a new file; safetensors makes it 0600
    try:
        save_file(tensors, path, metadata)
        path.chmod(mode)
    except SafetensorError as error:
        remedy = "correct this and restart the run: it resumes from its last checkpoint"
        raise OSError(f"{path}: {error}; {remedy}") from None
    flush(path)
    return manifest_entry(path)


def manifest_entry(path: Path) -> dict[str, Any]:
    """Size in bytes and checksum of a file, as the manifest holds them."""
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def superfluous(run: Path, config: CheckpointConfig) -> list[Path]:
    """The checkpoints that neither `keep` nor `keep_every` retains."""
    every = config.keep_every
    return [path for path in complete(run)[config.keep :] if not (every and step_of(path) % every == 0)]


def set_aside(directory: Path) -> Path:
    """Rename a damaged checkpoint, so that `keep` does not count it, and return its new path."""
    number = 0
    while (aside := directory.with_name(f"damaged-{directory.name}" + f".{number}" * bool(number))).exists():
        number += 1
    os.rename(directory, aside)
    return aside


def resolve(path: Path) -> Path:
    """A checkpoint directory, or the newest one of a run directory, damaged or not.

    Raises:
        ValueError: neither.
    """
    if (path / "manifest.json").is_file() and (path / "state.json").is_file():
        return path
    found = present(path)
    if not found:
        raise ValueError(
            f"{path}: neither a checkpoint nor a run with one (no manifest.json, no checkpoints/step-*); name another"
        )
    return found[0]


def verify(directory: Path, share: tuple[int, int] = (0, 1)) -> None:
    """Validate manifest and state, and compare sizes and checksums with the manifest.

    Args:
        directory: a checkpoint.
        share: (k, n): read only every n-th file from the k-th, so that n ranks share the work.

    Raises:
        DamagedError: a file is missing, cut short or altered, or the JSON is of another shape; names the file.
        ValueError: the format is another version.
        OSError: a file cannot be read, which says nothing about its content.
    """
    files = read_manifest(directory)
    for name, expected in sorted(files.items())[share[0] :: share[1]]:
        path = directory / name
        with readable(path):
            if not path.is_file():
                raise DamagedError(path, "missing: the checkpoint is incomplete")
            size = path.stat().st_size
            if size != expected["bytes"]:
                raise DamagedError(path, f"{size} bytes, {expected['bytes']} were written: damaged")
            if sha256_file(path) != expected["sha256"]:
                raise DamagedError(path, "sha256 differs from the manifest: damaged")
    read_state(directory)


class Reader:
    """Tensors of a checkpoint by name and range, joined from the files of all ranks."""

    def __init__(self, directory: Path) -> None:
        """Raises DamagedError where a file is not readable as safetensors, or holds other tensors than state.json."""
        self.directory = directory
        self.shapes: dict[str, list[int]] = read_state(directory)["tensors"]
        self._pieces: dict[tuple[str, str], list[tuple[int, int, Any, str]]] = {}
        listed = read_manifest(directory)
        for path in sorted(directory / name for name in listed if name.endswith(".safetensors")):
            try:
                with readable(path):
                    file = safe_open(path, framework="pt")
            except SafetensorError as error:
                raise DamagedError(path, f"not readable as safetensors ({error})") from None
            for key in file.keys():  # noqa: SIM118 - not a dict
                part, name, offset, size = self._parsed(path, key, file.get_slice(key).get_shape())
                self._pieces.setdefault((part, name), []).append((offset, offset + size, file, key))
        for pieces in self._pieces.values():
            pieces.sort(key=lambda piece: piece[:2])

    def _parsed(self, path: Path, key: str, shape: list[int]) -> tuple[str, str, int, int]:
        """Part, tensor, offset and number of elements of a fragment."""
        fields = key.split("|")
        numel = torch.Size(self.shapes[fields[1]]).numel() if len(fields) == 3 and fields[1] in self.shapes else -1
        is_ours = numel >= 0 and fields[0] in PARTS and fields[2].isdecimal() and len(shape) == 1
        if not is_ours or int(fields[2]) + shape[0] > numel:
            raise DamagedError(path, f"{key} of shape {shape} is no fragment of a tensor that state.json lists")
        return fields[0], fields[1], int(fields[2]), shape[0]

    def has(self, part: str, name: str = "") -> bool:
        """Whether the checkpoint holds `part` ("exp_avg") of a tensor, or at all: an imported one has only weights."""
        return any(found == part and name in ("", tensor) for found, tensor in self._pieces)

    def read(self, part: str, name: str, start: int, stop: int) -> Tensor:
        """Elements [start, stop) of the flattened tensor, fp32.

        Raises:
            ValueError: they are not all there.
        """
        values = torch.empty(stop - start)
        end = start
        for first, last, file, key in self._pieces.get((part, name), []):
            low, high = max(first, end), min(last, stop)
            if low == end and low < high:
                values[low - start : high - start] = file.get_slice(key)[low - first : high - first]
                end = high
        if end != stop:
            raise DamagedError(self.directory, f"{part} of {name} lacks elements {end} to {stop}")
        return values

    def tensors(self, part: str = "weight") -> Iterator[tuple[str, Tensor]]:
        """(name, whole tensor) of every tensor, one at a time; frozen ones have no moments."""
        for name, shape in self.shapes.items():
            if part != "weight" and (part, name) not in self._pieces:
                continue
            yield name, self.read(part, name, 0, int(torch.Size(shape).numel())).view(shape)


def load_shards(directory: Path, shards: list[Shard], moments: bool = True, average: bool = False) -> dict[str, Any]:
    """Fill this rank's weights, and moments and averages where wanted and present, from a verified checkpoint.

    Returns:
        Its state.

    Raises:
        ValueError: a tensor is missing or has another shape (another model).
    """
    state, reader = read_state(directory), Reader(directory)
    ours = {name: list(shape) for shard in shards for name, shape in zip(shard.names, shard.shapes, strict=True)}
    check_shapes(directory, ours, reader.shapes)
    moments = moments and reader.has("exp_avg")
    for shard in shards:
        if average and reader.has("average"):
            shard.average = torch.zeros_like(shard.flat)
        parts = shard.tensors if moments else {"weight": shard.flat}
        for part, target in parts.items():
            for tensor, start, stop, offset in shard.fragments:
                target[start:stop].copy_(reader.read(part, shard.names[tensor], offset, offset + stop - start))
        if moments and not shard.frozen:
            shard.state["step"] = state["optimizer_step"]
    return state


def model_config(directory: Path, config_class: type[Config], state: dict[str, Any]) -> Config:
    """The model's configuration that a checkpoint's state holds.

    Raises:
        DamagedError: a field is missing, unknown, or has a value that cannot be.
    """
    try:
        return config_class(**state["model"])
    except (TypeError, ValueError) as error:
        raise DamagedError(
            directory / "state.json", f"model is no {config_class.__name__} ({error}): damaged"
        ) from None


def check_shapes(directory: Path, ours: dict[str, list[int]], theirs: dict[str, list[int]]) -> None:
    """Raises ValueError unless the checkpoint holds exactly the model's tensors."""
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise ValueError(
                f"{directory}: {name} has shape {theirs.get(name)} in the checkpoint and {ours.get(name)} in this "
                "model; the recipe's model section must be that of the checkpoint"
            )
