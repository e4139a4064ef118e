"""Laws of preprocessing/download/client.py."""

import socket
import threading
from email.utils import formatdate

import pytest

from preprocessing.download.client import Client, ClientConfig, StatusError, TransientError
from preprocessing.errors import DataError


def test_the_program_names_itself_and_whom_to_write_to(site, client):
    """As Wikimedia's policy demands, requests carry a name of the program, and an address if one is given."""
    site["/a"] = b"text"
    assert client.document(f"{site.base}/a") == b"text"
    Client(ClientConfig(contact="ann@example.org")).document(f"{site.base}/a")
    names = [headers["user-agent"] for _, headers in site.requests]
    assert names[0] == "bert-pipeline (python -m preprocessing download)"
    assert names[1] == "bert-pipeline (python -m preprocessing download; ann@example.org)"


def test_a_refusal_is_not_repeated(site, client, make_resource):
    """404 and 403 are not repeated, and the error states what to do."""
    site["/a"] = make_resource(refusals=[(403, {})] * 9)
    with pytest.raises(StatusError, match=r"/b: the server answers 404 Not Found; check the URL"):
        client.document(f"{site.base}/b")
    with pytest.raises(StatusError, match=r"/a: the server answers 403 Forbidden; some servers ask .* --contact"):
        client.document(f"{site.base}/a")
    assert len(site.requests) == 2


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_overloaded_server_is_asked_again(site, client, make_resource, status):
    """A request to an overloaded server is repeated until the server responds."""
    site["/a"] = make_resource(b"text", refusals=[(status, {})] * 3)
    assert client.document(f"{site.base}/a") == b"text"
    assert len(site.requests) == 4


def test_repetitions_are_limited(site, client, make_resource):
    """A request is repeated `retries` times at most, after growing waits."""
    site["/a"] = make_resource(b"text", refusals=[(503, {})] * 9)
    with pytest.raises(DataError, match="503 Service Unavailable; run the same command again later"):
        client.document(f"{site.base}/a")
    assert len(site.requests) == 4


def test_waits_double(client, monkeypatch):
    """Waits are 1, 2, 4, ... times the first."""
    waits = []
    monkeypatch.setattr(client._stopped, "wait", waits.append)

    def attempt():
        raise TransientError("no")

    with pytest.raises(DataError, match="no; run"):
        client.retry(attempt, lambda: 0)
    assert waits == [0.01, 0.02, 0.04]


def test_attempts_that_come_forward_are_not_in_vain(client, monkeypatch):
    """Only failures in a row without progress are counted; reaching the position of the attempt before
    is no progress.
    """
    waits, steps = [], iter([0, 1, 2, 3, 4, 5, 6, 3, 6, 2, 6])
    monkeypatch.setattr(client._stopped, "wait", waits.append)
    achieved = [0]

    def attempt():
        achieved[0] = next(steps)
        raise TransientError("no")

    with pytest.raises(DataError):
        client.retry(attempt, lambda: achieved[0])
    assert waits == [0.01] * 7 + [0.02, 0.04] and achieved[0] == 2


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(site, client, make_resource, monkeypatch, form):
    """Retry-After, in seconds or as a date, is obeyed however short the client's own wait is."""
    now, waits = 1_700_000_000, []
    monkeypatch.setattr("preprocessing.download.client.time.time", lambda: now)
    monkeypatch.setattr(client._stopped, "wait", waits.append)
    value = "7" if form == "seconds" else formatdate(now + 7, usegmt=True)
    site["/a"] = make_resource(b"text", refusals=[(503, {"Retry-After": value})])
    assert client.document(f"{site.base}/a") == b"text"
    assert waits == [7]


@pytest.mark.parametrize("value", ["86400", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_wait_of_hours_is_an_error(site, client, make_resource, value):
    """A server that demands a wait of hours ends the job at once."""
    site["/a"] = make_resource(refusals=[(503, {"Retry-After": value})])
    with pytest.raises(DataError, match="run the same command again later"):
        client.document(f"{site.base}/a")


def test_a_retry_after_without_sense_is_none(site, client, make_resource):
    """With a Retry-After that cannot be read, the client's own wait applies."""
    site["/a"] = make_resource(b"text", refusals=[(503, {"Retry-After": "soon"})])
    assert client.document(f"{site.base}/a") == b"text"


def test_a_body_cut_short_is_asked_for_again(site, client, make_resource):
    """A truncated document is requested again, with a length or in chunks."""
    site["/a"] = make_resource(b"text" * 99, cuts=[100])
    site["/b"] = make_resource(b"text" * 99, cuts=[100], chunked=True)
    assert client.document(f"{site.base}/a") == client.document(f"{site.base}/b") == b"text" * 99
    assert len(site.requests) == 4


def test_a_server_that_falls_silent_is_given_up(site, make_resource):
    """A request to a silent server ends after `timeout_seconds` and is repeated."""
    client = Client(ClientConfig(timeout_seconds=0.5, backoff_seconds=0.01))
    over = threading.Event()
    site["/a"] = make_resource(b"text", stalls=[over.wait])
    assert client.document(f"{site.base}/a") == b"text"
    assert not over.is_set() and len(site.requests) >= 2
    over.set()


def test_no_server_is_an_error_in_the_end(client):
    """A refused connection is retried, and then an error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a"
    with pytest.raises(DataError, match="Connection refused; run the same command again later"):
        client.document(url)


def test_redirects_lead_to_http_only(site, client, make_resource):
    """Redirects to another HTTP address are followed; those to files or other protocols are errors."""
    site["/a"] = make_resource(location="/b")
    site["/b"] = b"text"
    assert client.document(f"{site.base}/a") == b"text"
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        site["/a"] = make_resource(location=target)
        with pytest.raises(DataError, match=r"/a: .*(redirects to|file:)"):
            client.document(f"{site.base}/a")
    site["/a"] = make_resource(location="/a")
    with pytest.raises(DataError, match="would lead to an infinite loop"):
        client.document(f"{site.base}/a")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
        "wiki.xml",
        "http://127.0.0.1:port/",
        "http://",
        "http://[",
        "http://127.0.0.1/ä",
        "http://127.0.0.1/ a",
    ],
)
def test_an_address_must_be_one_of_http(client, url):
    """An address that is not HTTP is refused before a connection is made."""
    with pytest.raises(DataError, match="check"):
        client.document(url)


def test_a_stopped_client_ends_its_threads(site, client, make_resource, monkeypatch):
    """A client that was stopped ends its threads, also while it waits for a retry."""
    site["/a"] = make_resource(refusals=[(503, {"Retry-After": "60"})])
    wait, waited = client._stopped.wait, []

    def stop_and_wait(seconds):
        client.stop()
        waited.append((seconds, wait(seconds)))

    monkeypatch.setattr(client._stopped, "wait", stop_and_wait)
    with pytest.raises(DataError, match="stopped"):
        client.document(f"{site.base}/a")
    assert waited == [(60, True)], "the wait lasted to its end"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connections": 3}, "connections = 3: must be 1 or 2"),
        ({"retries": -1}, "retries = -1"),
        ({"timeout_seconds": 0}, "timeout_seconds = 0: must be above 0"),
        ({"backoff_seconds": 0}, "backoff_seconds = 0"),
        ({"contact": "a\r\nHost: b"}, "contact = "),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    """Each message names the field and the value."""
    with pytest.raises(ValueError, match=message):
        ClientConfig(**options)
