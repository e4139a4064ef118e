"""Laws of preprocessing/stages/extract.py."""

import gzip
import json
import logging
import shutil
from pathlib import Path

import pytest

from preprocessing.corpus.corpus import Corpus
from preprocessing.errors import DataError
from preprocessing.filters import FilterConfig
from preprocessing.sources import registry
from preprocessing.sources.distributions import NOT_PYTHON, Packages
from preprocessing.sources.embedded import Embedded
from preprocessing.stages.extract import ExtractConfig, extract
from preprocessing.workers import SerialExecutor

LINES = b'{"text": "A good document. It has two sentences."}\n'


def run(out, source, **options):
    """Extract with small splits and partitions."""
    config = ExtractConfig([str(source)], **{"split_mb": 0.02, "partition_mb": 0.05, **options})
    return extract(out, config, FilterConfig(), SerialExecutor())


def sentences(corpus):
    """Return all documents of all partitions, as sets of their sentences in order."""
    return sorted(tuple(document) for p in range(len(corpus.partitioning)) for document in corpus.read(p).to_pylist())


def write(folder, files):
    """Write a directory of these files."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_every_document_lies_in_one_partition(tmp_path, corpus):
    """Each document is in one partition, whatever the sizes of splits and partitions."""
    whole = run(tmp_path / "whole", f"jsonl:{corpus}", split_mb=10, partition_mb=10)
    parts = run(tmp_path / "parts", f"jsonl:{corpus}")
    assert len(whole.files) == 1 and len(parts.files) > 3 and parts.partitioning.train > 2
    assert sentences(whole) == sentences(parts) and len(sentences(whole)) == 200


def test_partitions_are_random_samples_of_all_sources(tmp_path):
    """The partition of a document depends neither on its file nor on the order of files and documents, and each
    partition has its share of each file by chance.
    """
    texts = [f"Document {number} of the first source." for number in range(6000)]
    texts += [f"{number} is a document of the second source." for number in range(2000)]
    for folder, order in (("forwards", texts), ("backwards", texts[::-1])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("".join(f"{text}\n\n" for text in order[:2500]))
        (tmp_path / folder / "b.txt").write_text("".join(f"{text}\n\n" for text in order[2500:]))
    one, other = (
        [{text for (text,) in corpus.read(p).to_pylist()} for p in corpus.partitioning.partitions("train")]
        for corpus in (run(tmp_path / f"{name}-out", f"text:{tmp_path / name}") for name in ("forwards", "backwards"))
    )
    assert one == other and len(one) == 6
    sizes = [(len(part), sum("first" in text for text in part)) for part in one]
    total, first = map(sum, zip(*sizes, strict=True))
    statistic = sum(
        (count - size * share) ** 2 / (size * share)
        for size, num_first in sizes
        for count, share in ((num_first, first / total), (size - num_first, 1 - first / total))
    )
    assert statistic < 20.5  # Chi-square with 5 degrees of freedom exceeds it once in 1000.


def test_a_gzip_file_is_written_in_blocks_of_bounded_size(tmp_path, corpus):
    """One split that exceeds split_mb gives the same documents as many splits."""
    packed = tmp_path / "corpus.jsonl.gz"
    packed.write_bytes(gzip.compress(corpus.read_bytes()))
    assert sentences(run(tmp_path / "a", f"jsonl:{packed}")) == sentences(run(tmp_path / "b", f"jsonl:{corpus}"))


def test_bad_records_are_left_out_and_reported(tmp_path):
    """Bad records are counted by kind with their places, and everything else is published; of a document with a long
    sentence only the sentence is dropped.
    """
    lines = [
        json.dumps({"text": "Good one. " + "x" * 100_000 + ". End."}),
        json.dumps({"text": " \n "}),
        json.dumps({"text": "Half a pair \ud800."}),
        *[json.dumps({"text": f"Document {number}."}) for number in range(7)],
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    corpus = run(tmp_path / "out", f"jsonl:{tmp_path / 'a.jsonl'}", max_bad_share=0.3, heldout_share=0)
    assert ("Good one.", "End.") in sentences(corpus) and len(sentences(corpus)) == 8
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["bad"] == {"no sentences": 1, "not UTF-8": 1, "sentence too long": 1}
    ((place, detail),) = report["first"]["sentence too long"]
    assert place == f"{tmp_path / 'a.jsonl'}:1"
    assert detail == "100,001 characters, more than max_sentence_chars = 10,000; left out"


def test_too_many_bad_records_publish_nothing_until_they_are_allowed(tmp_path):
    """Above max_bad_share there is no manifest, and a rerun that allows the share continues from the finished parts."""
    (tmp_path / "a.txt").write_bytes(b"Good one.\n\ncaf\xe9\n\nGood two.\n")
    source = f"text:{tmp_path / 'a.txt'}"
    with pytest.raises(DataError, match=r"1 of 3 records are bad(.|\n)*not UTF-8: 1, first at\n *.*a\.txt:3"):
        run(tmp_path / "out", source)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert len(sentences(run(tmp_path / "out", source, max_bad_share=0.5))) == 2


def test_a_changed_input_is_noticed(tmp_path, corpus):
    """A rerun after the input has grown is an error that names the file."""
    run(tmp_path / "out", f"jsonl:{corpus}")
    assert run(tmp_path / "out", f"jsonl:{corpus}") == Corpus.open(tmp_path / "out")
    with corpus.open("a") as file:
        file.write('{"text": "More."}\n')
    with pytest.raises(DataError, match=r"corpus\.jsonl was .* bytes, modified"):
        run(tmp_path / "out", f"jsonl:{corpus}")


def test_what_is_left_out_of_a_directory_is_told(tmp_path, caplog):
    """Files that are left out are printed before the work begins and are in the report with counts and names; they
    change no document.
    """
    write(tmp_path / "in", {"a.jsonl": LINES * 50, "b.csv": b"x" * 100, "SHA256SUMS": b"x", "c.jsonl.part": b"x"})
    with caplog.at_level(logging.INFO, "preprocessing"):
        corpus = run(tmp_path / "out", f"jsonl:{tmp_path / 'in'}")
    told = [record for record in caplog.records if "3 left out" in record.getMessage()]
    assert told[0].levelno == logging.WARNING and told[0] is caplog.records[0]
    assert "in: 1 file read, 3 left out\n  .csv, which jsonl does not read: 1 (b.csv)\n" in told[0].getMessage()
    (files,) = json.loads((tmp_path / "out" / "report.json").read_text())["files"].values()
    assert (files["read"], files["lost_bytes"]) == (1, 101)
    assert files["first"] == {
        ".csv, which jsonl does not read": ["b.csv"],
        "checksum or signature": ["SHA256SUMS"],
        "unfinished download (run it again)": ["c.jsonl.part"],
    }
    assert sentences(corpus) == sentences(run(tmp_path / "alone", f"jsonl:{tmp_path / 'in' / 'a.jsonl'}"))


@pytest.mark.parametrize("pack", ["directory", "zip", "tar"])
def test_too_much_left_out_publishes_nothing_until_it_is_allowed(tmp_path, pack):
    """If more than max_left_out_share of the bytes of a directory or archive is left out, nothing is published until a
    rerun allows it.
    """
    files = {"a.txt": b"A sentence.\n\nAnother one.\n", "b.pdf": b"x" * 60, "c.jpg": b"x" * 999}
    source = write(tmp_path / "in", files)
    if pack != "directory":
        source = Path(shutil.make_archive(str(tmp_path / "packed"), pack, source))
    share = len(files["b.pdf"]) / (len(files["a.txt"]) + len(files["b.pdf"]))
    with pytest.raises(DataError, match=rf"{share:.0%} of the bytes are in files that are not read, .*b\.pdf"):
        run(tmp_path / "out", f"books:{source}")
    assert not (tmp_path / "out" / "manifest.json").exists()
    run(tmp_path / "out", f"books:{source}", max_left_out_share=share)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["documents"] == 1
    ((place, files),) = report["files"].items()
    assert place.endswith(str(source)) and (files["read"], files["lost_bytes"]) == (1, 60)
    assert files["left_out"] == {".pdf, which books does not read": 1, "picture, sound, style or program": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": []}, "sources is empty"),
        ({"heldout_share": 1.0}, "heldout_share = 1.0: must be at least 0 and below 1"),
        ({"max_bad_share": 5}, "max_bad_share = 5: .* not percent"),
        ({"max_left_out_share": 50}, "max_left_out_share = 50: must be 0 to 1: it is a share"),
        ({"split_mb": 0}, "split_mb = 0: must be at least 0.0001"),
        ({"split_mb": float("inf")}, "split_mb = inf: must be .* at most 1000"),
        ({"partition_mb": float("nan")}, "partition_mb = nan"),
        ({"max_sentence_chars": 0}, "max_sentence_chars = 0"),
        ({"partition_mb": 5000}, "partition_mb = 5000: .* at most 1000"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    """An option out of range is an error with the field, the value and the rule."""
    with pytest.raises(ValueError, match=message):
        ExtractConfig(**{"sources": ["embedded"], **options})


def test_versions_of_embedded_text_are_recorded_and_deviations_are_logged(tmp_path, monkeypatch, caplog):
    """Versions of embedded text are in stage.json, which the samples' manifest repeats, and another version counts as
    another input.
    """
    found = {
        "a.py": b'"""This is the text of a package that is in another version."""',
        "b.py": b'"""This is the text of a file that is not to be parsed."""\n(',
    }
    site = write(tmp_path / "site", found)
    files = tuple(site / name for name in found)
    versions = {"python": "3.11.0", "a": "2"}
    embedded = Embedded([Packages(files)], versions, ["a 2 is installed instead of 1"])
    monkeypatch.setattr(registry, "split_embedded", lambda _: embedded)
    corpus = run(tmp_path / "out", "embedded")
    assert sentences(corpus) == [("This is the text of a package that is in another version.",)]
    assert json.loads((tmp_path / "out" / "stage.json").read_text())["config"]["versions"] == versions
    assert json.loads((tmp_path / "out" / "report.json").read_text())["left_out"] == {NOT_PYTHON: 1}
    assert "embedded: a 2 is installed instead of 1" in caplog.messages
    versions["a"] = "1"
    with pytest.raises(DataError, match="versions"):
        run(tmp_path / "out", "embedded")
