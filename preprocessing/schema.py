"""The shard format, the interface to training: Arrow schema of a sample, and the manifest of a samples directory.

One row is one sample: the text tokens of segment A followed by those of segment B, which may be empty. Training adds
special tokens, masks and padding, so that masking is dynamic and one dataset serves any kind of it. The manifest is
JSON and is written last: a directory that has one is complete.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from preprocessing.errors import DataError

FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"
TOKENIZER_DIRECTORY = "tokenizer"
TRAIN, HELDOUT = "train", "heldout"
ACTUAL_NEXT, RANDOM_NEXT = 0, 1
"""Values of the `label` column for next sentence prediction, those of google-research/bert."""
IN_ORDER, SWAPPED = 0, 1
"""Values of the `label` column for sentence-order prediction, those of google-research/albert."""

PAIR_SPECIAL_TOKENS = 3
"""[CLS] A [SEP] B [SEP]: what `max_seq_length` leaves room for in samples of two segments."""
SINGLE_SPECIAL_TOKENS = 2
"""[CLS] A [SEP]: the same in samples of one segment."""
LABELLED = ("nsp", "sop")
"""Values of `segments` whose samples are pairs with a label; all others have label 0, and may be single segments."""

_REBUILD = "the file is damaged or not of this program: build the samples again"

Record = TypeVar("Record")


def token_type(vocab_size: int) -> pa.DataType:
    """The narrowest token type that holds ids 0 .. vocab_size - 1: uint16 up to 65,536 ids, uint32 above."""
    return pa.uint16() if vocab_size <= 2**16 else pa.uint32()


def sample_schema(vocab_size: int) -> pa.Schema:
    """Arrow schema of a shard; no column has nulls.

    `tokens`: A then B, without special tokens; `boundary`: index in `tokens` at which B starts, the number of tokens if
    the sample is a single segment; `label`: for `nsp` 0 actual next, 1 random next, for `sop` 0 in order, 1 swapped, 0
    for all others; `document`: number, in the whole dataset, of the document of the first token. A single segment may
    continue into the following documents; the position is not stored.
    """
    token = pa.field("item", token_type(vocab_size), nullable=False)
    columns = {"tokens": pa.list_(token), "boundary": pa.uint16(), "label": pa.uint8(), "document": pa.uint32()}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


@dataclass(frozen=True)
class Shard:
    """One Arrow file of a split."""

    path: str
    """File name, relative to the manifest's directory."""
    rows: int
    """Number of samples."""
    tokens: int
    """Number of text tokens, special tokens not counted."""
    bytes: int
    """Size of the file in bytes."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""
    tokens_by_source: dict[str, int] = field(default_factory=dict)
    """Number of text tokens of the samples that begin in a document of each source, by its name on the command line."""


@dataclass(frozen=True)
class Split:
    """The shards of `train` or of `heldout`, in order; may be empty."""

    rows: int
    """Number of samples."""
    tokens: int
    """Number of text tokens, special tokens not counted."""
    shards: tuple[Shard, ...]
    """The files; sample i of the split is row i of their concatenation."""

    @staticmethod
    def of(shards: list[Shard]) -> "Split":
        """The split of these shards, with their totals."""
        return Split(sum(shard.rows for shard in shards), sum(shard.tokens for shard in shards), tuple(shards))

    @property
    def tokens_by_source(self) -> dict[str, int]:
        """Number of text tokens by source, of all shards."""
        total: Counter[str] = Counter()
        for shard in self.shards:
            total.update(shard.tokens_by_source)
        return dict(total)


@dataclass(frozen=True)
class Manifest:
    """Content of `manifest.json` of a samples directory."""

    vocab_size: int
    """Number of token ids, special tokens included."""
    max_seq_length: int
    """Longest sample in tokens once training has added [CLS] and a [SEP] after each segment: 3 to a pair, 2 to one."""
    segments: str
    """Name of the strategy that made the samples, from preprocessing/segments/registry.py."""
    tokenizer_sha256: str
    """SHA-256 of tokenizer/tokenizer.json."""
    config: dict
    """Options of the stages that made the data."""
    splits: dict[str, Split]
    """Shards by name of the split."""
    format_version: int = FORMAT_VERSION
    """Version of this format."""

    def to_json(self) -> str:
        """The manifest as JSON text; equal manifests give equal text."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str, source: Path) -> "Manifest":
        """The inverse of `to_json`; `source` is the file named in errors.

        Raises:
            DataError: the JSON is malformed or of another format version, a key is missing or unknown, or a value has
                the wrong type.
        """
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{source}: not valid JSON ({error}); {_REBUILD}") from None
        version = record.get("format_version") if isinstance(record, dict) else None
        if version != FORMAT_VERSION:
            raise DataError(
                f"{source}: format_version is {version!r}, this version reads {FORMAT_VERSION}; build the samples "
                "again with this version, or read them with the version that wrote them"
            )
        manifest = _read(Manifest, record, f"{source}")
        splits = {name: _read_split(split, f"{source}: splits.{name}") for name, split in manifest.splits.items()}
        return replace(manifest, splits=splits)


def _read_split(record: Any, place: str) -> Split:
    split = _read(Split, record, place)
    shards = [_read(Shard, shard, f"{place}.shards[{number}]") for number, shard in enumerate(split.shards)]
    for shard in shards:
        if shard.path != Path(shard.path).name:
            raise DataError(f"{place}: shard path {shard.path!r} leaves the directory; {_REBUILD}")
    return replace(split, shards=tuple(shards))


def _read(cls: type[Record], record: Any, place: str) -> Record:
    """Builds dataclass `cls` from a JSON object with exactly its fields, each of the JSON type of its annotation."""
    kinds = {field.name: field.type for field in fields(cls)}  # type: ignore[arg-type]
    keys: Mapping = _typed(record, dict, place)
    for problem, names in (("missing", kinds.keys() - keys.keys()), ("unknown", keys.keys() - kinds.keys())):
        if names:
            raise DataError(f"{place}: {problem} key {', '.join(sorted(names))}; {_REBUILD}")
    for name, kind in kinds.items():
        container = getattr(kind, "__origin__", kind)
        _typed(keys[name], list if container is tuple else container, f"{place}: {name}")
    return cls(**keys)


def _typed(value: Any, kind: Any, place: str) -> Any:
    if not isinstance(value, kind):
        raise DataError(f"{place} is {value!r}, expected {kind.__name__}; {_REBUILD}")
    return value
