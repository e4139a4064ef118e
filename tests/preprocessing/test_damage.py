"""Damaged and truncated input on the command line: a small share is reported, and a large one stops the job."""

import bz2
import io
import tarfile

import pytest

from preprocessing.__main__ import main
from preprocessing.files import read_json

HEAD = "<mediawiki><siteinfo><namespaces /></siteinfo>\n"
PAGE = "<page><title>T{0}</title><ns>0</ns><revision><text>Text number {0}. It is short.</text></revision></page>\n"


def dump_of(number):
    """Return a dump of so many pages."""
    return (HEAD + "".join(map(PAGE.format, range(number))) + "</mediawiki>").encode()


def tar_of(number):
    """Return an archive of so many books."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in range(number):
            member = tarfile.TarInfo(f"{name}.txt")
            member.size = 1000
            archive.addfile(member, io.BytesIO(b"A sentence. " * 83 + b"End."))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("source", "name", "data"),
    [
        ("wikipedia", "a.xml", dump_of(2000)),
        ("wikipedia", "a.xml.bz2", bz2.compress(dump_of(20_000), 1)),
        ("books", "a.tar", tar_of(2000)),
    ],
)
def test_half_a_file_is_no_single_bad_record(tmp_path, capsys, source, name, data):
    """A download that ended early has one bad record, but the job stops, and the error states how to go on without the
    lost part.
    """
    path = tmp_path / name
    arguments = ["extract", "--sources", f"{source}:{path}", "--out", str(tmp_path / "out"), "--executor", "serial"]
    path.write_bytes(data[: len(data) // 2])
    assert main(arguments) == 1
    text = capsys.readouterr().err
    assert "about 50.0% of the input could not be read, more than max_bad_share = 0.01 allows; download the" in text
    assert f": 1, first at\n    {path}: " in text
    assert main([*arguments, "--max_bad_share", "0.5"]) == 0


def test_a_damaged_page_of_many_is_reported(tmp_path):
    """A damaged page of many is one bad record, and the job continues."""
    path = tmp_path / "a.xml"
    path.write_bytes(dump_of(2000).replace(b"Text number 7. It is short.</text>", b"Text number 7."))
    assert (
        main(["extract", "--sources", f"wikipedia:{path}", "--out", str(tmp_path / "out"), "--executor", "serial"]) == 0
    )
    report = read_json(tmp_path / "out" / "documents" / "report.json")
    assert report["bad"] == {"damaged dump": 1} and report["lost_bytes"] == 0
    assert report["first"]["damaged dump"][0][0] == f"{path}: page 'T7'"
