"""Laws of preprocessing/schema.py."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from preprocessing.errors import DataError
from preprocessing.schema import Manifest, Shard, Split, sample_schema, token_type

SHARDS = [Shard("train-00000.arrow", 3, 30, 1000, "aa"), Shard("train-00001.arrow", 4, 50, 2000, "bb")]
MANIFEST = Manifest(
    vocab_size=100,
    max_seq_length=128,
    segments="nsp",
    tokenizer_sha256="cc",
    config={"seed": 1},
    splits={"train": Split.of(SHARDS), "heldout": Split.of([])},
)


def changed(**keys):
    """Return the JSON text of the manifest with some keys replaced; None removes one."""
    record = {**json.loads(MANIFEST.to_json()), **keys}
    return json.dumps({name: value for name, value in record.items() if value is not None})


def test_a_manifest_survives_its_json():
    """`from_json` is the inverse of `to_json`."""
    assert Manifest.from_json(MANIFEST.to_json(), Path("manifest.json")) == MANIFEST


def test_totals_are_sums_over_shards():
    """Rows and tokens of a split are the sums over its shards."""
    assert (MANIFEST.splits["train"].rows, MANIFEST.splits["train"].tokens) == (7, 80)
    assert MANIFEST.splits["heldout"] == Split(0, 0, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "format_version is None"),
        (changed(format_version=9), "format_version is 9, this version reads 2"),
        (changed(vocab_size=None), "missing key vocab_size"),
        (changed(vocab="x"), "unknown key vocab"),
        (changed(max_seq_length="128"), "max_seq_length is '128', expected int"),
        (changed(splits=[]), r"splits is \[\], expected dict"),
        (changed(splits={"train": {"rows": 1, "tokens": 2}}), r"splits\.train: missing key shards"),
        (changed(splits={"train": {"rows": 1, "tokens": 2, "shards": [{}]}}), r"shards\[0\]: missing key bytes, path"),
        (
            changed(splits={"train": {"rows": 1, "tokens": 2, "shards": {}}}),
            r"splits\.train: shards is {}, expected list",
        ),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused_by_name(text, message):
    """Every malformed manifest is a DataError that names the file and the key."""
    with pytest.raises(DataError, match=rf"^dir/manifest\.json.*{message}"):
        Manifest.from_json(text, Path("dir/manifest.json"))


@pytest.mark.parametrize("name", ["../train-00000.arrow", "/tmp/train-00000.arrow", "more/train-00000.arrow"])
def test_a_shard_stands_in_its_directory(name):
    """A shard whose path leads out of the directory is an error."""
    split = replace(MANIFEST.splits["train"], shards=(replace(MANIFEST.splits["train"].shards[0], path=name),))
    text = replace(MANIFEST, splits={"train": split}).to_json()
    with pytest.raises(DataError, match=rf"^dir/manifest\.json: splits\.train: shard path '{name}' leaves"):
        Manifest.from_json(text, Path("dir/manifest.json"))


@pytest.mark.parametrize(("vocab_size", "kind"), [(30522, pa.uint16()), (65536, pa.uint16()), (65537, pa.uint32())])
def test_tokens_take_the_narrowest_type_that_holds_the_vocabulary(vocab_size, kind):
    """Ids up to 65535 are uint16 and larger vocabularies uint32, and no column has nulls."""
    schema = sample_schema(vocab_size)
    assert token_type(vocab_size) == kind == schema.field("tokens").type.value_type
    assert schema.names == ["tokens", "boundary", "label", "document"]
    assert not any(field.nullable for field in schema)


def test_manifests_are_values():
    """Manifests that differ in one field are unequal and have different JSON."""
    other = replace(MANIFEST, vocab_size=101)
    assert other != MANIFEST and other.to_json() != MANIFEST.to_json()
