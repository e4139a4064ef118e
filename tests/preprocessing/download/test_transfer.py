"""Laws of preprocessing/download/transfer.py."""

import hashlib
import json
from random import Random

import pytest

from preprocessing.download.transfer import Checksum, Meter, RemoteFile, Transfer
from preprocessing.errors import DataError
from preprocessing.progress import LogLines

BODY = Random(0).randbytes(3_000_000)
SHA256 = Checksum("sha256", hashlib.sha256(BODY).hexdigest(), "--sha256")


@pytest.fixture
def bar():
    """A progress bar that records updates."""
    return LogLines(0, "download")


@pytest.fixture
def fetch(site, client, tmp_path, bar):
    """The function that fetches the site's /a into `tmp_path`, with its meter."""

    def run(path="/a", **known):
        transfer = Transfer(RemoteFile(site.base + path, **known), tmp_path)
        bar.total += transfer.due
        transfer.run(client, Meter(bar))
        return transfer.final

    return run


def names(folder):
    """Return the names of the files in the directory."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("known", [{}, {"size": len(BODY)}, {"checksum": SHA256}])
@pytest.mark.parametrize("cuts", [[], [1_000_000], [7, 0, 1_500_000, 0, 0, 1_000_000, 1]])
def test_a_lost_connection_is_taken_up_where_it_broke(site, fetch, make_resource, tmp_path, bar, known, cuts):
    """After lost connections the file is whole, each byte was sent once, and the bar ends at the file's size."""
    site["/a"] = make_resource(BODY, cuts=list(cuts))
    assert fetch(**known).read_bytes() == BODY
    assert names(tmp_path) == ["a"]
    positions = [sum(cuts[: number + 1]) for number in range(len(cuts))]
    assert site.ranges() == [None, *(f"bytes={position}-" for position in positions)]
    assert bar.done == bar.total == len(BODY)


def test_an_interrupted_command_is_continued(site, fetch, make_resource, tmp_path, bar):
    """The bytes of an earlier process are kept, and the bar counts the missing ones."""
    site["/a"] = make_resource(BODY, cuts=[1_000_000] + [0] * 9)
    with pytest.raises(DataError, match=r"/a: the connection ended after 1,000,000 of 3,000,000 bytes; run the same"):
        fetch(size=len(BODY))
    assert names(tmp_path) == ["a.part", "a.part.json"]
    site["/a"] = BODY
    bar.done = bar.total = 0
    assert fetch(size=len(BODY)).read_bytes() == BODY
    assert site.ranges()[-1] == "bytes=1000000-"
    assert bar.done == bar.total == 2_000_000


def test_a_whole_part_needs_no_server(site, fetch, tmp_path):
    """A part that is complete, after a kill before its renaming, needs no request."""
    (tmp_path / "a.part").write_bytes(BODY)
    stamp = {"url": f"{site.base}/a", "version": '"v1"', "bytes": len(BODY)}
    (tmp_path / "a.part.json").write_text(json.dumps(stamp))
    assert fetch().read_bytes() == BODY
    assert not site.requests and names(tmp_path) == ["a"]


def test_a_server_that_ignores_range_sends_all_again(site, fetch, make_resource, bar):
    """From a server that ignores Range, the file is fetched from its start, and the bar counts all bytes."""
    site["/a"] = make_resource(BODY, ranges=False, cuts=[1_000_000, 2_000_000])
    assert fetch(size=len(BODY)).read_bytes() == BODY
    assert bar.total == bar.done == 6_000_000


def test_a_server_that_ignores_range_and_never_gets_through_is_given_up(site, fetch, make_resource):
    """A server that ignores Range and always ends at the same place is an error, since this is no progress."""
    site["/a"] = make_resource(BODY, ranges=False, cuts=[1_000_000] * 99)
    with pytest.raises(DataError, match="the connection ended after 1,000,000"):
        fetch()
    assert len(site.requests) == 4


@pytest.mark.parametrize("if_range", [True, False])
@pytest.mark.parametrize("dated", [True, False])
def test_another_version_is_not_glued_to_the_first(site, fetch, make_resource, tmp_path, if_range, dated):
    """A file that changes between two requests is fetched from its start, also from a server that ignores If-Range."""
    versions = ["Sat, 01 Nov 2025 00:00:00 GMT", "Sun, 02 Nov 2025 00:00:00 GMT"] if dated else ['"v1"', '"v2"']
    name, other = ("modified", {"etag": 'W/"v"'}) if dated else ("etag", {})
    site["/a"] = make_resource(BODY, cuts=[1_000_000] + [0] * 9, **{name: versions[0]}, **other)
    with pytest.raises(DataError):
        fetch()
    assert site.requests[-1][1]["if-range"] == versions[0]
    site["/a"] = make_resource(BODY[::-1], if_range=if_range, **{name: versions[1]}, **other)
    assert fetch().read_bytes() == BODY[::-1]


def test_another_address_is_not_glued_to_the_first(site, fetch, make_resource):
    """The part of a file of the same name from another address is not continued."""
    site["/a"] = make_resource(BODY, cuts=[1_000_000] + [0] * 9)
    with pytest.raises(DataError):
        fetch()
    site["/other/a"] = BODY[::-1]
    assert fetch("/other/a").read_bytes() == BODY[::-1]
    assert site.ranges()[-1] is None


def test_without_a_version_all_is_fetched_again(site, fetch, make_resource):
    """Without a version in the headers the file is fetched from its start, since the rest may belong to another
    version.
    """
    site["/a"] = make_resource(BODY, etag=None, cuts=[1_000_000])
    assert fetch().read_bytes() == BODY
    assert site.ranges() == [None, None]


@pytest.mark.parametrize("cuts", [[], [1_000_000]])
def test_chunks_tell_their_end(site, fetch, make_resource, cuts):
    """A body in chunks is complete with the last chunk; one that ends before is fetched again."""
    site["/a"] = make_resource(BODY, chunked=True, cuts=cuts)
    assert fetch().read_bytes() == BODY


def test_without_a_length_only_a_checksum_tells_the_end(site, fetch, make_resource, tmp_path):
    """Without a length, a lost connection looks like the end of the file, and only a checksum shows that it is not."""
    site["/a"] = make_resource(BODY, length=False)
    with pytest.raises(DataError, match=r"does not state the size of the file, .* give its --sha256"):
        fetch()
    assert fetch(checksum=SHA256).read_bytes() == BODY


@pytest.mark.parametrize("there", [False, True])
def test_a_wrong_checksum_says_what_differs_and_removes_nothing(site, fetch, tmp_path, there):
    """After a wrong checksum neither the part nor an existing file is removed, and a rerun repeats the error until the
    user removes it.
    """
    site["/a"] = BODY
    name = "a" if there else "a.part"
    (tmp_path / name).write_bytes(BODY)
    wrong = Checksum("sha1", "0" * 40, "sha1sums.txt")
    found = hashlib.sha1(BODY).hexdigest()
    for _ in range(2):
        with pytest.raises(DataError, match=rf"{name}: sha1 is {found}, but sha1sums\.txt says 0{{40}}; .* Remove it"):
            fetch(checksum=wrong)
        assert (tmp_path / name).read_bytes() == BODY
    assert len(site.requests) == (0 if there else 1)
    (tmp_path / name).unlink()
    assert fetch(checksum=SHA256).read_bytes() == BODY


def test_what_is_there_is_left_alone(site, fetch, tmp_path):
    """An existing file is not requested again, and its checksum is compared if there is one."""
    (tmp_path / "a").write_bytes(BODY)
    assert fetch() == fetch(checksum=SHA256) == tmp_path / "a"
    assert not site.requests


def test_another_size_than_announced_is_told_before_fetching(site, fetch, tmp_path):
    """A size that differs from the announced one, as on an outdated mirror, is an error before the file is fetched."""
    site["/a"] = BODY
    with pytest.raises(DataError, match="has 3,000,000 bytes on the server, should have 5; try another --mirror"):
        fetch(size=5)
    assert not names(tmp_path)


def test_a_full_disk_is_told(site, fetch, tmp_path):
    """The error of a full disk states how many bytes have arrived, and that the transfer can be continued."""
    site["/a"] = BODY
    (tmp_path / "a.part").symlink_to("/dev/full")
    with pytest.raises(
        DataError, match=r"a\.part: cannot be written \(No space left on device\) after .*; free disk space"
    ):
        fetch()
    assert len(site.requests) == 1


def test_a_second_process_on_the_same_part_is_noticed(site, fetch, make_resource, tmp_path):
    """A part with more bytes than the file, as a second process would leave it, is an error."""
    (tmp_path / "a.part").write_bytes(BODY + b"x")
    stamp = {"url": f"{site.base}/a", "version": '"v1"', "bytes": len(BODY)}
    (tmp_path / "a.part.json").write_text(json.dumps(stamp))
    with pytest.raises(DataError, match=r"a\.part: has 3,000,001 bytes, but .* has 3,000,000; does another process"):
        fetch()


def test_an_empty_file_is_one(site, fetch):
    """An empty file is fetched as an empty file."""
    site["/a"] = b""
    assert fetch().read_bytes() == b""


@pytest.mark.parametrize(
    ("path", "name"), [("/x/a.jsonl.gz", "a.jsonl.gz"), ("/a%20b.txt?download=true", "a b.txt"), ("/c#part", "c")]
)
def test_the_address_names_the_file(path, name):
    """The name of a file does not include the query of its URL."""
    assert RemoteFile(f"http://127.0.0.1{path}").name == name


@pytest.mark.parametrize(
    "path", ["", "/", "/x/", "/..", "/.", "/..%2f..%2fetc", "/x%2fy", "/.bashrc", "/a%00b", "/a%5cb"]
)
def test_no_name_leads_out_of_the_directory(path):
    """A name that leads out of the directory, or is hidden, is an error."""
    with pytest.raises(DataError, match="is not a file name"):
        print(RemoteFile(f"http://127.0.0.1{path}").name)
