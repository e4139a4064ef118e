"""Laws of preprocessing/inputs.py."""

import json

import pytest

from preprocessing.inputs import FileCounts, FoundFile, LeftOutError

FILES = [
    FoundFile("a.txt", 100),
    FoundFile("b.pdf", 60, "PDF", lost=True),
    FoundFile("SHA256SUMS", 500, "checksum"),
    *(FoundFile(f"{number}.pdf", 10, "PDF", lost=True) for number in range(9)),
]


def counts_of(*files):
    """Return the counts of these files."""
    counts = FileCounts()
    for file in files:
        counts.add(file)
    return counts


def test_counts_add_up_and_pass_through_json():
    """Counts of parts of a directory add up to those of the whole, and the bytes of a checksum file are
    not lost text.
    """
    whole = counts_of(*FILES)
    assert (whole.read, whole.read_bytes, whole.lost_bytes) == (1, 100, 150)
    assert whole.left_out == {"PDF": 10, "checksum": 1} and len(whole.first["PDF"]) == 5
    assert whole.left_out_bytes == {"PDF": 150, "checksum": 500} and whole.lost_share == 0.6
    merged = FileCounts()
    for part in (FILES[:3], FILES[3:7], FILES[7:]):
        merged.merge(json.loads(json.dumps(counts_of(*part).to_dict())))
    assert merged == whole


def test_what_is_left_out_is_told_with_its_number():
    """Each reason has a line with the number of files and the first names, and there is none if all are read."""
    assert counts_of(*FILES).lines("books:x") == [
        "books:x: 1 file read, 11 left out",
        "  PDF: 10 (b.pdf, 0.pdf, 1.pdf, 2.pdf, 3.pdf, ...)",
        "  checksum: 1 (SHA256SUMS)",
    ]
    assert counts_of(FILES[0]).lines("books:x") == []
    many = counts_of(*(FoundFile(f"a.{number}", 1, f"reason {number}") for number in range(9)))
    assert many.summary().count(";") == 4 and many.summary().endswith("; ...")


def test_enough_must_be_read():
    """If no file, or too small a share of the bytes, is read, the error states how to go on; a share equal to the limit
    is accepted.
    """
    with pytest.raises(LeftOutError, match=r"x: no file in it is read; left out: checksum: 1 \(SHA256SUMS\)"):
        counts_of(FILES[2]).check("x", 1)
    with pytest.raises(LeftOutError, match="x: no file in it is read; the directory is empty"):
        FileCounts().check("x", 1)
    with pytest.raises(LeftOutError, match=r"x: 60% of the bytes .* = 0\.5 allows; .* or raise --max_left_out_share"):
        counts_of(*FILES).check("x", 0.5)
    counts_of(*FILES).check("x", 0.6)
