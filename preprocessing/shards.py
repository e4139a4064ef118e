"""Sample shards on disk: written as Arrow IPC files, read as memory maps without a copy.

Arrow's IPC *file* format, uncompressed, lays every column out as one aligned buffer, so a memory map of it is the NumPy
array: opening a dataset reads footers only, a sample is a view, and all processes of a node share the pages.
Source: https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format
"""

import os
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from preprocessing.errors import DataError
from preprocessing.files import atomic_path, readable, sha256_file, unreadable
from preprocessing.schema import MANIFEST_NAME, TOKENIZER_DIRECTORY, Manifest, Shard, sample_schema, token_type

_REBUILD = "copy the directory again, or remove it and build the samples again"


def sample_batch(
    tokens: np.ndarray,
    offsets: np.ndarray,
    boundaries: np.ndarray,
    labels: np.ndarray,
    documents: np.ndarray,
    vocab_size: int,
) -> pa.RecordBatch:
    """One record batch of N samples.

    Args:
        tokens: (T,) text tokens of all samples, one after the other.
        offsets: (N + 1,) start of each sample in `tokens`; the last is T.
        boundaries: (N,) index in the sample at which B starts; the length of the sample if there is no B.
        labels: (N,) as in `sample_schema`.
        documents: (N,) number, in the dataset, of the document of each first token.
        vocab_size: number of token ids.
    """
    schema = sample_schema(vocab_size)
    values = pa.array(tokens, token_type(vocab_size))
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=schema.field("tokens").type)
    columns = zip((boundaries, labels, documents), schema.types[1:], strict=True)
    return pa.record_batch([lists, *(pa.array(column, kind) for column, kind in columns)], schema=schema)


def write_shard(path: Path, batches: Iterable[pa.RecordBatch], vocab_size: int) -> Shard:
    """Writes one shard atomically, batch by batch, and returns its manifest entry."""
    rows = num_tokens = 0
    with atomic_path(path) as temporary:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, sample_schema(vocab_size)) as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
                num_tokens += len(batch.column("tokens").values)
        size, checksum = temporary.stat().st_size, sha256_file(temporary)
    return Shard(path.name, rows, num_tokens, size, checksum)


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a samples directory.

    Raises:
        DataError: the directory has no manifest, or one that this version does not read.
    """
    path = directory / MANIFEST_NAME
    with readable(path):
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    if text is None:
        raise DataError(
            f"{directory}: no {MANIFEST_NAME}, so this is not a finished samples directory; give one that "
            "`python -m preprocessing` finished, or run it again to resume"
        )
    return Manifest.from_json(text, path)


def check_tokenizer(directory: Path, manifest: Manifest) -> None:
    """Checks that the tokenizer of the directory is the one that made the shards.

    Raises:
        DataError: tokenizer/tokenizer.json is missing or has another checksum.
    """
    path = directory / TOKENIZER_DIRECTORY / "tokenizer.json"
    with readable(path):
        found = sha256_file(path) if path.is_file() else ""
    if not found:
        raise DataError(f"{path}: missing; {_REBUILD}")
    if found != manifest.tokenizer_sha256:
        raise DataError(
            f"{path}: sha256 is {found}, the manifest says {manifest.tokenizer_sha256}: this is another tokenizer than "
            f"the one that made the samples; {_REBUILD}"
        )


class SampleDataset:
    """The memory-mapped samples of one split. Create it with `open`; a pickle stores the path and reopens the maps."""

    manifest: Manifest
    directory: Path
    split: str

    def __init__(self, directory: Path, split: str, manifest: Manifest) -> None:
        """Maps the shards of `split`, whose presence and sizes `open` has checked."""
        self.directory, self.split, self.manifest = directory, split, manifest
        self.shards = manifest.splits[split].shards
        maps = [_map_shard(directory / shard.path, shard, manifest) for shard in self.shards]
        self._shard_of_batch = np.repeat(np.arange(len(maps)), [len(batches) for batches in maps])
        self._files = [(str(directory / shard.path), shard.bytes) for shard in self.shards]
        batches = [batch for shard_batches in maps for batch in shard_batches]
        columns = ("boundary", "label", "document")
        self._columns = {name: [_view(batch.column(name)) for batch in batches] for name in columns}  # each (N,)
        self._tokens = [_view(batch.column("tokens").values) for batch in batches]  # each (T,)
        self._offsets = [_view(batch.column("tokens").offsets) for batch in batches]  # each (N + 1,)
        self._first_rows = np.cumsum([0] + [batch.num_rows for batch in batches])

    @classmethod
    def open(cls, directory: Path, split: str) -> "SampleDataset":
        """Opens a split after cheap checks; `verify` also checks the checksums.

        Args:
            directory: samples directory written by `python -m preprocessing build`.
            split: `train` or `heldout`.

        Raises:
            DataError: the manifest, the format version, the tokenizer, or the presence, size, Arrow schema or number of
                rows of a shard is wrong.
        """
        directory = Path(directory)
        manifest = read_manifest(directory)
        check_tokenizer(directory, manifest)
        if split not in manifest.splits:
            raise DataError(f"{directory}: no split {split!r}; it has {', '.join(sorted(manifest.splits))}")
        for shard in manifest.splits[split].shards:
            check_size(directory / shard.path, shard.bytes)
        return cls(directory, split, manifest)

    def __reduce__(self) -> tuple[Callable, tuple]:
        return SampleDataset, (self.directory, self.split, self.manifest)

    def __len__(self) -> int:
        return int(self._first_rows[-1])

    @property
    def tokenizer_dir(self) -> Path:
        """Directory that `transformers.AutoTokenizer.from_pretrained` loads."""
        return self.directory / TOKENIZER_DIRECTORY

    @cached_property
    def lengths(self) -> np.ndarray:
        """(N,) int32, text tokens per sample, special tokens not counted."""
        return _concatenate([np.diff(offsets) for offsets in self._offsets], np.int32)

    @cached_property
    def boundaries(self) -> np.ndarray:
        """(N,) uint16, index in the tokens at which B starts; the number of tokens if there is no B."""
        return _concatenate(self._columns["boundary"], np.uint16)

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) uint8, as in `sample_schema`; for `nsp` 0 actual next, 1 random next."""
        return _concatenate(self._columns["label"], np.uint8)

    @cached_property
    def documents(self) -> np.ndarray:
        """(N,) uint32, number, in the dataset, of the document of the first token."""
        return _concatenate(self._columns["document"], np.uint32)

    def tokens(self, indices: np.ndarray) -> list[np.ndarray]:
        """The tokens of the samples `indices` (B,), each a read-only view of the memory map without a copy.

        Raises:
            IndexError: an index lies outside [0, N).
        """
        batches = self._batches(indices)
        rows = indices - self._first_rows[batches]  # (B,)
        return [
            self._tokens[batch][self._offsets[batch][row] : self._offsets[batch][row + 1]]
            for batch, row in zip(batches.tolist(), rows.tolist(), strict=True)
        ]

    def check_whole(self, indices: np.ndarray) -> None:
        """Checks that the shards of the samples `indices` (B,) were not truncated; call before reading the samples.

        Reading a memory map beyond the end of a truncated file kills the process (SIGBUS). A shard that was removed can
        still be read.

        Raises:
            DataError: a shard was truncated after it was opened.
            OSError: the size of a shard cannot be read.
        """
        for number in set(self._shard_of_batch[self._batches(indices)].tolist()):
            path, expected = self._files[number]
            try:
                found = os.stat(path).st_size
            except FileNotFoundError:
                continue
            except OSError as error:
                raise unreadable(Path(path), error) from None
            if found < expected:
                raise DataError(
                    f"{path}: has {found} bytes, {expected} when it was opened: truncated since; {_REBUILD}"
                )

    def _batches(self, indices: np.ndarray) -> np.ndarray:
        """(B,) number of the record batch of each sample."""
        if np.any((indices < 0) | (indices >= len(self))):
            raise IndexError(f"sample indices must lie in [0, {len(self)}), got {indices}")
        return np.searchsorted(self._first_rows, indices, side="right") - 1

    def verify(self, shard_numbers: Iterable[int] | None = None) -> None:
        """Compares the checksums of the shards with these numbers (by default all) with the manifest.

        Raises:
            DataError: a checksum differs; the message names the shard.
        """
        for number in range(len(self.shards)) if shard_numbers is None else shard_numbers:
            check_sum(self.directory / self.shards[number].path, self.shards[number].sha256)


def check_size(path: Path, expected: int) -> None:
    """Checks that a file exists with the expected size in bytes.

    Raises:
        DataError: it is missing or of another size.
    """
    with readable(path):
        found = path.stat().st_size if path.is_file() else None
    if found is None:
        raise DataError(f"{path}: missing, the manifest lists it; {_REBUILD}")
    if found != expected:
        raise DataError(f"{path}: has {found} bytes, the manifest says {expected}; {_REBUILD}")


def check_sum(path: Path, expected: str) -> None:
    """Checks the SHA-256 of a file.

    Raises:
        DataError: it differs from the expected one.
    """
    with readable(path):
        found = sha256_file(path)
    if found != expected:
        raise DataError(f"{path}: sha256 is {found}, the manifest says {expected}: the content is damaged; {_REBUILD}")


def _map_shard(path: Path, shard: Shard, manifest: Manifest) -> list[pa.RecordBatch]:
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        for batch in batches:
            batch.validate()
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # Of the system; Arrow's errors have no number.
            raise unreadable(path, error) from None
        raise DataError(f"{path}: not a readable Arrow file ({error}); {_REBUILD}") from None
    if not reader.schema.equals(expected := sample_schema(manifest.vocab_size)):
        raise DataError(f"{path}: Arrow schema is\n{reader.schema}\nexpected\n{expected}\n{_REBUILD}")
    if (rows := sum(batch.num_rows for batch in batches)) != shard.rows:
        raise DataError(f"{path}: has {rows} samples, the manifest says {shard.rows}; {_REBUILD}")
    return batches


def _view(array: pa.Array) -> np.ndarray:
    return array.to_numpy(zero_copy_only=True)


def _concatenate(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    """The concatenated arrays, without a copy if there is only one."""
    return arrays[0] if len(arrays) == 1 else np.concatenate([np.empty(0, dtype), *arrays])
