"""Laws of preprocessing/corpus/report.py."""

from dataclasses import asdict

import pytest

from preprocessing.corpus.report import Tally
from preprocessing.errors import DataError
from preprocessing.inputs import FileCounts, FoundFile
from preprocessing.sources.documents import BROKEN_JSON, DAMAGED_DUMP, NOT_UTF8, BadRecord
from preprocessing.sources.jsonl import split_jsonl


def tally_of(records, documents, bad):
    """Return a tally with these counts."""
    tally = Tally(records=records)
    for _ in range(documents):
        tally.add_document(["One.", "Two."])
    for record in bad:
        tally.add_bad(record)
    return tally


def test_splits_add_up_and_places_are_lines(tmp_path):
    """Counts of splits add up, and the first five bad records of each kind have their places as file:line."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 9 + b"\n" + b"y\n" * 10)
    splits = split_jsonl(path, 10, "text")
    bad = [BadRecord(BROKEN_JSON, 10 + 2 * line, f"detail {line}") for line in range(6)]
    first = asdict(tally_of(3, 2, [BadRecord(NOT_UTF8, 0, "byte")]))
    second, third = asdict(tally_of(6, 0, bad[:2])), asdict(tally_of(6, 2, bad[2:]))
    total = Tally.of_splits([first, second, third], splits)
    assert (total.records, total.documents, total.sentences, total.characters) == (15, 4, 8, 32)
    assert total.total_bytes == path.stat().st_size and total.lost_bytes == 0
    assert total.bad == {NOT_UTF8: 1, BROKEN_JSON: 6}
    assert total.first[BROKEN_JSON] == [[f"{path}:{line + 2}", f"detail {line}"] for line in range(5)]
    assert total.first[NOT_UTF8] == [[f"{path}:1", "byte"]]
    text = total.text()
    assert "4 documents read, 8 sentences" in text and "7 of 15 records are bad (46.67%)" in text
    assert f"  broken JSON line: 6, first at\n    {path}:2: detail 0\n" in text


def test_too_many_bad_records_are_an_error():
    """The limit of bad records may be reached and not exceeded, and the error contains the report."""
    tally = tally_of(100, 90, [BadRecord(NOT_UTF8, 0, "byte 7")] * 10)
    assert len(tally.first[NOT_UTF8]) == 5
    tally.check(0.1)
    rule = r"10 of 100 records are bad, more than max_bad_share = 0\.09 allows"
    with pytest.raises(DataError, match=rf"{rule}(.|\n)*byte 7"):
        tally.check(0.09)


def test_one_bad_record_of_many_is_no_error():
    """One bad book of 50 is no error, though it is 2 %; one of 19, two of 50, and one with a share of 0 are."""
    tally_of(50, 49, [BadRecord(NOT_UTF8, 0, "byte 7")]).check(0.01)
    for records, bad, share in ((19, 1, 0.01), (50, 2, 0.01), (50, 1, 0)):
        with pytest.raises(DataError, match="records are bad, more than max_bad_share"):
            tally_of(records, records - bad, [BadRecord(NOT_UTF8, 0, "byte 7")] * bad).check(share)


def test_a_higher_limit_is_only_advised_where_it_helps():
    """A higher limit is not advised if every record is bad, since the job would fail for every limit below 1."""
    with pytest.raises(DataError, match="correct the input, or raise --max_bad_share"):
        tally_of(10, 5, [BadRecord(NOT_UTF8, 0, "x")] * 5).check(0.01)
    with pytest.raises(DataError, match=r"correct the input\n"):
        tally_of(5, 0, [BadRecord(NOT_UTF8, 0, "x")] * 5).check(0.01)


def test_text_lost_to_damage_counts_by_its_bytes():
    """One bad record of a thousand may have cost half of the input: the error states the share and how to continue."""
    tally = tally_of(1000, 999, [BadRecord(DAMAGED_DUMP, 0, "cut", lost_bytes=500_000)])
    tally.total_bytes = 1_000_000
    tally.check(0.5)
    remedy = "download the damaged files again, or raise --max_bad_share to continue with the readable ones"
    with pytest.raises(DataError, match=rf"about 50\.0% of the input could not be read, .* = 0\.4 allows; {remedy}"):
        tally.check(0.4)
    assert "about 0.5 of 1.0 MB could not be read" in tally.text()


def test_files_of_an_archive_in_several_splits_add_up():
    """Counts of an archive's files in several splits add up under its name, and too many files that are left out are an
    error.
    """
    tally = tally_of(3, 3, [])
    for number in range(2):
        counts = FileCounts()
        counts.add(FoundFile(f"{number}.txt", 10))
        counts.add(FoundFile(f"{number}.pdf", 20, "PDF", lost=True))
        tally.add_files("a.zip", counts.to_dict())
    assert "  a.zip: 2 files read, 2 left out\n    PDF: 2 (0.pdf, 1.pdf)" in tally.text()
    tally.check(0.1, 0.7)
    with pytest.raises(DataError, match=r"a\.zip: 67% of the bytes .* left out: PDF: 2"):
        tally.check(0.1, 0.6)


def test_no_document_is_an_error():
    """Input without any document is an error."""
    with pytest.raises(DataError, match="no document in the input"):
        Tally().check(0.01)
