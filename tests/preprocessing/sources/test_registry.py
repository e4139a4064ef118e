"""Laws of preprocessing/sources/registry.py."""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocessing.corpus.partitioning import Partitioning
from preprocessing.errors import DataError
from preprocessing.filters import FilterConfig
from preprocessing.schema import MANIFEST_NAME
from preprocessing.sources.compressed import zstd
from preprocessing.sources.help import KIND_HELP, SOURCES_HELP
from preprocessing.sources.registry import KINDS, split_sources
from preprocessing.stage_directory import STAGE_NAME
from preprocessing.stages.build import BuildConfig, build
from preprocessing.stages.extract import ExtractConfig, extract
from preprocessing.stages.tokenizer import TokenizerConfig, prepare_tokenizer
from preprocessing.workers import SerialExecutor


def test_sources_are_read_in_the_order_given(tmp_path):
    """Sources of different kinds are read in the order given."""
    (tmp_path / "a.txt").write_text("One.\n\nTwo.\n")
    (tmp_path / "b.jsonl").write_text('{"body": "Three."}\n')
    paths = ["jsonl:b.jsonl", "text:a.txt", "file:a.txt", "books:a.txt"]
    specifications = [specification.replace(":", f":{tmp_path}/") for specification in paths]
    splits = split_sources(specifications, 10**6, "body")
    texts = [record.text for source in splits for split in source.splits for record in split.records()]
    assert texts == ["Three.", "One.\n", "Two.\n", "One.\nTwo.", "One.\nTwo."]


def test_the_help_text_knows_every_kind():
    """The help text has every kind in the order of the registry, as it is typed."""
    assert list(KIND_HELP) == list(KINDS)
    assert all(f"{name}:PATH (" in SOURCES_HELP for name in KINDS)


@pytest.mark.parametrize("specification", ["wiki.jsonl", "csv:a.csv", "jsonl:", "books:", "embedded:x", "embedded:"])
def test_an_unknown_source_lists_the_known(specification):
    """The error for an unknown source repeats it and lists the known kinds."""
    with pytest.raises(DataError, match=rf"'{specification}' is none of .*jsonl:PATH, .* embedded, embedded:stdlib "):
        split_sources([specification], 10**6, "text")


MEANT = {
    "wiki:dumps": "wikipedia:dumps",
    "WIKIPEDIA:dumps": "wikipedia:dumps",
    "wkipedia:dumps": "wikipedia:dumps",
    "json:a.json": "jsonl:a.json",
    "txt:a.txt": "text:a.txt",
    "fil:a.txt": "file:a.txt",
    "pq:a": "parquet:a",
    "books:": "books:PATH",
    "jsonl": "jsonl:PATH",
    "embeded": "embedded",
    "embedded:x": "embedded",
    "corpus.txt": "books:corpus.txt, text:corpus.txt or file:corpus.txt",
    "missing.jsonl": "jsonl:missing.jsonl",
    "enwiki-20251101-pages-articles1.xml-p1p41242.bz2": "wikipedia:enwiki-20251101-pages-articles1.xml-p1p41242.bz2",
    "lines": "jsonl:lines",
    "rows": "jsonl:rows",
    "other.bin": "file:other.bin",
}


@pytest.mark.parametrize("specification", MEANT)
def test_an_unknown_source_names_what_may_be_meant(tmp_path, monkeypatch, specification):
    """The error for a misspelt kind, a kind by another name, or a path without kind names the one that is probably
    meant.
    """
    monkeypatch.chdir(tmp_path)
    for name, data in {"corpus.txt": "One.", "lines": '{"text": 1}', "other.bin": "\0", "rows/a.ndjson": "{}"}.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(data)
    with pytest.raises(DataError) as error:
        split_sources([specification], 10**6, "text")
    assert str(error.value).endswith(f"; did you mean {MEANT[specification]}?")


def test_what_is_left_out_names_the_kinds_that_read_it(tmp_path):
    """The message about files that are left out names the kinds that read them, in one line."""
    (tmp_path / "a.jsonl").write_text('{"text": "One."}\n')
    (tmp_path / "b.parquet").write_bytes(b"PAR1" * 100)
    for kind, others in (("jsonl", "parquet:PATH"), ("text", "jsonl:PATH or parquet:PATH")):
        with pytest.raises(DataError, match=f"; some of these files are read as {others}$"):
            split_sources([f"{kind}:{tmp_path}"], 10**6, "text")
    (source,) = split_sources([f"jsonl:{tmp_path}"], 10**6, "text", max_left_out_share=1)
    assert len(source.splits) == 1 and source.files.lost_bytes == 400


def test_the_home_directory_is_found(tmp_path, monkeypatch):
    """A tilde after the colon, which the shell does not expand, is the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("One.")
    (source,) = split_sources(["text:~/a.txt"], 10**6, "text")
    assert source.splits[0].files == (tmp_path / "a.txt",)


def test_empty_files_are_no_corpus(tmp_path):
    """A file without bytes has no split."""
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(DataError, match="--sources: the files are empty"):
        split_sources([f"jsonl:{tmp_path / 'a.jsonl'}"], 10**6, "text")


def write_forms(folder, corpus):
    """Write the corpus in every form that has a text per record; return the specifications for --sources."""
    data = corpus.read_bytes()
    table = pa.Table.from_pylist([json.loads(line) for line in data.splitlines()])
    for suffix, pack in {".gz": gzip, ".bz2": bz2, ".xz": lzma, ".zst": zstd}.items():
        (folder / f"packed.jsonl{suffix}").write_bytes(pack.compress(data))
        yield f"jsonl:{folder / f'packed.jsonl{suffix}'}"
    for rows in (1, 7, 1000):
        pq.write_table(table, folder / f"{rows}.parquet", row_group_size=rows)
        yield f"parquet:{folder / f'{rows}.parquet'}"
        for name, new in (("file", pa.ipc.new_file), ("stream", pa.ipc.new_stream)):
            with new(str(folder / f"{name}-{rows}.arrow"), table.schema) as writer:
                writer.write_table(table, max_chunksize=rows)
            yield f"arrow:{folder / f'{name}-{rows}.arrow'}"


def samples(out, source, split_mb, tokenizer=None):
    """Return every file of the samples directory except the records of configuration and input."""
    extract(
        out / "documents",
        ExtractConfig([source], split_mb=split_mb, heldout_share=0.2),
        FilterConfig(),
        SerialExecutor(),
    )
    if tokenizer is None:
        tokenizer = out / "tokenizer"
        prepare_tokenizer(tokenizer, TokenizerConfig(vocab_size=200), out / "documents")
    build(out / "samples", BuildConfig(max_seq_length=32), out / "documents", tokenizer, SerialExecutor())
    files = {path.name: path.read_bytes() for path in (out / "samples").rglob("*") if path.is_file()}
    return {name: data for name, data in files.items() if name not in {STAGE_NAME, MANIFEST_NAME}}


def test_the_form_of_a_corpus_changes_no_sample(tmp_path, monkeypatch, make_corpus):
    """Samples are byte-identical for a corpus that is compressed or in columns, in row groups or batches of any size,
    and in one split or many.

    The number of partitions is fixed here, since it follows from the size of the input, which is estimated for
    compressed files.
    """
    monkeypatch.setattr(Partitioning, "of", lambda *sizes: Partitioning(train=2, heldout=1, heldout_share=0.2))
    corpus = make_corpus(tmp_path, documents=40)
    expected = samples(tmp_path / "plain", f"jsonl:{corpus}", 32)
    assert sum(name.startswith("train-") for name in expected) == 2
    for number, source in enumerate(write_forms(tmp_path, corpus)):
        assert samples(tmp_path / str(number), source, 0.003, tmp_path / "plain" / "tokenizer") == expected, source
