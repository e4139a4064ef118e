"""Laws of preprocessing/download/commands.py."""

import hashlib
import json
import threading

import pytest
from jobs import SECONDS_TO_END, wait_until

from preprocessing.download.client import ClientConfig
from preprocessing.download.commands import UrlConfig, download_urls, download_wikipedia
from preprocessing.download.wikimedia import WikipediaConfig
from preprocessing.errors import DataError

QUICK = ClientConfig(timeout_seconds=5, retries=3, backoff_seconds=0.01)
BODIES = {f"/{number}.txt": bytes([number]) * 100_000 for number in range(6)}


def content(folder):
    """Return the content of each file in a directory, by name."""
    return {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}


def test_files_come_two_at_a_time(site, make_resource, tmp_path):
    """All files are fetched, on at most two connections at a time, whatever happens to these."""
    both = threading.Barrier(2)  # The first two bodies wait for each other.
    for number, (path, body) in enumerate(BODIES.items()):
        stalls = [lambda: both.wait(SECONDS_TO_END)] * (number < 2)
        site[path] = make_resource(body, stalls=stalls, cuts=[50_000], refusals=[(503, {})])
    download_urls(tmp_path / "out", UrlConfig([site.base + path for path in BODIES]), QUICK)
    assert content(tmp_path / "out") == BODIES
    assert site.most_open == 2


def test_one_error_ends_all_and_keeps_what_came(site, make_resource, tmp_path):
    """After an error the other files in transfer are not waited for, and their parts are kept for the next run."""
    part, over = tmp_path / "a.part", threading.Event()
    begun = lambda: wait_until(lambda: part.exists() and part.stat().st_size)  # noqa: E731
    site["/a"] = make_resource(b"x" * 10**6, stalls=[over.wait] * 99)  # However often it is asked again.
    site["/b"] = make_resource(before=begun, refusals=[(404, {})])
    site["/c"] = b"x"
    with pytest.raises(DataError, match="/b: the server answers 404"):
        download_urls(tmp_path, UrlConfig([f"{site.base}/{name}" for name in "abc"]), QUICK)
    over.set()
    assert {"/a.part", "/a.part.json"} <= content(tmp_path).keys() and "/a" not in content(tmp_path)


def test_checksums_belong_to_their_files(site, tmp_path):
    """Checksums belong to the files in the order given."""
    for path, body in BODIES.items():
        site[path] = body
    urls = [site.base + path for path in BODIES]
    digests = [hashlib.sha256(body).hexdigest().upper() for body in BODIES.values()]
    download_urls(tmp_path / "right", UrlConfig(urls, digests), QUICK)
    assert content(tmp_path / "right") == BODIES
    with pytest.raises(DataError, match=r"\.txt\.part: sha256 is .* but --sha256 says"):
        download_urls(tmp_path / "wrong", UrlConfig(urls, digests[::-1]), QUICK)


def test_two_files_of_one_name_are_refused(site, tmp_path):
    """Two addresses with the same file name are an error before anything is fetched."""
    with pytest.raises(DataError, match="/x/a: another file is also named a; download"):
        download_urls(tmp_path / "out", UrlConfig([f"{site.base}/x/a", f"{site.base}/y/a"]), QUICK)
    assert not site.requests and not (tmp_path / "out").exists()


def test_a_dump_is_fetched_and_checked(site, tmp_path):
    """A dump is fetched and checked, and a second command finds it there."""
    name, body = "dewiki-20251101-pages-articles-multistream.xml.bz2", b"articles" * 1000
    known = {"size": len(body), "sha1": hashlib.sha1(body).hexdigest()}
    jobs = {"articlesmultistreamdump": {"status": "done", "files": {name: known}}}
    site["/dewiki/20251101/dumpstatus.json"] = json.dumps({"jobs": jobs}).encode()
    site[f"/dewiki/20251101/{name}"] = body
    for _ in range(2):
        download_wikipedia(tmp_path, WikipediaConfig("de", "20251101", site.base + "/"), QUICK)
        assert content(tmp_path) == {f"/{name}": body}
    assert len(site.requests) == 3


@pytest.mark.parametrize(
    ("digests", "message"), [(["0" * 64], "sha256 has 1 values for 2 urls"), (["0" * 64, "md5"], "sha256 = 'md5'")]
)
def test_options_out_of_range_are_refused(digests, message):
    """Each message names the field and the value."""
    with pytest.raises(ValueError, match=message):
        UrlConfig(["http://127.0.0.1/a", "http://127.0.0.1/b"], digests)
