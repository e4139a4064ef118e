"""Laws of preprocessing/inspect/overview.py, on the output of real stages."""

import shutil
from dataclasses import replace

import pytest

from preprocessing.__main__ import main
from preprocessing.errors import DataError
from preprocessing.files import read_json, write_json
from preprocessing.inspect.overview import measure_directory
from preprocessing.workers import SerialExecutor


@pytest.fixture(scope="module")
def out(tmp_path_factory, make_corpus):
    """The output of a run: documents of two sources, a tokenizer and two samples directories."""
    folder = tmp_path_factory.mktemp("overview")
    corpus = make_corpus(folder)
    (folder / "bad.jsonl").write_text('{"text": "Twice the same."}\n{"text": "Twice the same."}\nno JSON\n')
    for options in (["--segments", "nsp"], ["--segments", "blocks"]):
        arguments = [
            "run",
            "--sources",
            f"jsonl:{corpus}",
            f"jsonl:{folder / 'bad.jsonl'}",
            "--out",
            str(folder / "out"),
        ]
        sizes = ["--vocab_size", "200", "--max_seq_length", "32", "--heldout_share", "0.1", "--executor", "serial"]
        assert main([*arguments, *sizes, *options]) == 0
    return folder / "out"


def test_an_out_directory_has_everything(out):
    """The overview of an output directory has documents, tokenizer and every samples directory."""
    overview = measure_directory(out, 1, SerialExecutor())
    assert overview.documents.tally.bad == {"broken JSON line": 1}
    assert overview.documents.tally.left_out == {"duplicate": 1}
    assert overview.documents.train + overview.documents.heldout == 201
    assert [source.documents for source in overview.documents.sources] == [200, 2]
    assert overview.tokenizer.vocab_size == overview.samples[0].manifest.vocab_size
    assert [source.text.documents for source in overview.documents.sources] == [200, 1]
    assert overview.tokenizer.unreachable.changed == [] and overview.tokenizer.settings.lower_case
    assert [figures.directory.name for figures in overview.samples] == ["samples32", "samples32-blocks"]
    assert overview.unfinished == []


def test_a_directory_in_it_has_itself(out):
    """The overview of one directory of a run has the figures that it has in the overview of the whole run."""
    whole = measure_directory(out, 1, SerialExecutor())
    documents = measure_directory(out / "documents", 1, SerialExecutor()).documents
    for source, text in zip(whole.documents.sources, [source.text for source in documents.sources], strict=True):
        assert text.removed is None and source.text.removed.characters > 0  # There is no tokenizer to try.
        assert replace(source.text, removed=None) == text
    assert replace(documents, sources=[]) == replace(whole.documents, sources=[])
    assert measure_directory(out / "tokenizer", 1, SerialExecutor()).tokenizer == whole.tokenizer
    alone = measure_directory(out / "samples32", 1, SerialExecutor())
    assert alone.documents is alone.tokenizer is None
    assert alone.samples[0].splits[0].examples == whole.samples[0].splits[0].examples


def test_what_lies_in_a_stage_s_directory_is_not_looked_at(out, tmp_path):
    """A copy of a samples directory inside of it is not part of the overview."""
    shutil.copytree(out / "samples32", tmp_path / "samples32")
    shutil.copytree(out / "samples32", tmp_path / "samples32" / "copy")
    overview = measure_directory(tmp_path / "samples32", 0, SerialExecutor())
    assert [figures.directory for figures in overview.samples] == [tmp_path / "samples32"]


def test_options_are_told_once(out):
    """Options of stages are not repeated for each samples directory, but are listed if it is inspected by itself."""
    assert list(measure_directory(out, 1, SerialExecutor()).configurations) == [
        "extract",
        "tokenizer",
        "build of samples32",
        "build of samples32-blocks",
    ]
    assert sorted(measure_directory(out / "samples32", 1, SerialExecutor()).configurations) == [
        "build of samples32",
        "extract of samples32",
        "tokenizer of samples32",
    ]


def test_an_unfinished_directory_is_named_or_an_error(out, tmp_path):
    """An unfinished directory among others is mentioned; alone it is an error."""
    shutil.copytree(out, tmp_path / "out")
    (tmp_path / "out" / "samples32" / "manifest.json").unlink()
    assert measure_directory(tmp_path / "out", 1, SerialExecutor()).unfinished == [tmp_path / "out" / "samples32"]
    with pytest.raises(DataError, match=r"samples32: no manifest\.json, so it is not finished"):
        measure_directory(tmp_path / "out" / "samples32", 1, SerialExecutor())


def test_what_is_not_ours_is_an_error(tmp_path):
    """A foreign directory, a file and a missing path are errors."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match=r"thesis: no manifest\.json in it or in a directory right below it"):
        measure_directory(tmp_path / "thesis", 1, SerialExecutor())
    for path in (tmp_path / "thesis" / "thesis.tex", tmp_path / "nowhere"):
        with pytest.raises(DataError, match="no such directory"):
            measure_directory(path, 1, SerialExecutor())


def test_a_damaged_report_is_an_error(out, tmp_path):
    """A report with an unknown key, and a missing report, are errors."""
    shutil.copytree(out / "documents", tmp_path / "documents")
    report = tmp_path / "documents" / "report.json"
    write_json(report, read_json(report) | {"colour": 1})
    with pytest.raises(DataError, match=r"report\.json: not the report of an extraction .*colour"):
        measure_directory(tmp_path / "documents", 1, SerialExecutor())
    write_json(report, read_json(out / "documents" / "report.json") | {"files": {"a": {"colour": 1}}})
    with pytest.raises(DataError, match=r"report\.json: not the report of an extraction .*colour"):
        measure_directory(tmp_path / "documents", 1, SerialExecutor())
    report.unlink()
    with pytest.raises(DataError, match=r"report\.json: not the report of an extraction"):
        measure_directory(tmp_path / "documents", 1, SerialExecutor())
