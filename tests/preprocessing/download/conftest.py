"""An HTTP server on this machine with configurable faults, for tests."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from preprocessing.download.client import Client, ClientConfig


@dataclass
class Resource:
    """The content of a URL and its faults; entry i of a list applies to request i."""

    body: bytes = b""
    etag: str | None = '"v1"'
    modified: str | None = None
    ranges: bool = True
    """Whether the server obeys Range."""
    if_range: bool = True
    """Whether the server obeys If-Range."""
    length: bool = True
    """Whether Content-Length is sent; otherwise the body ends with the connection, or with its last chunk."""
    chunked: bool = False
    location: str | None = None
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers of the responses that refuse the first requests."""
    cuts: list[int] = field(default_factory=list)
    """Bytes of the body after which the connection is closed."""
    stalls: list[Callable[[], object]] = field(default_factory=list)
    """Functions that wait for an event in the middle of the body."""
    before: Callable[[], object] = lambda: None
    """A function that waits for an event before the response."""


class Site:
    """The resources of a server by path, and the requests that were made."""

    def __init__(self) -> None:
        """Begin without resources."""
        self.resources: dict[str, Resource] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.base = ""
        self.open = self.most_open = 0
        self.lock = threading.Lock()

    def __setitem__(self, path: str, resource: Resource | bytes) -> None:
        self.resources[path] = resource if isinstance(resource, Resource) else Resource(resource)

    def ranges(self) -> list[str | None]:
        """Return the Range header of each request."""
        return [headers.get("range") for _, headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    """Answers one HTTP/1.1 request per connection; a subclass sets `site`."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        """Count the request and answer it."""
        with self.site.lock:
            self.site.open += 1
            self.site.most_open = max(self.site.open, self.site.most_open)
            self.site.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        try:
            self.answer(self.site.resources.get(self.path) or Resource(refusals=[(404, {})]))
        finally:
            self.close_connection = True
            with self.site.lock:
                self.site.open -= 1

    def answer(self, resource: Resource) -> None:
        """Answer as the resource demands."""
        resource.before()
        if resource.location:
            self.reply(302, {"Location": resource.location, "Content-Length": "0"})
        elif resource.refusals:
            status, headers = resource.refusals.pop(0)
            self.reply(status, headers | {"Content-Length": "0"})
        else:
            start = self.start(resource)
            self.reply(206 if start else 200, self.headers_of_body(resource, start))
            self.send(resource, resource.body[start:])

    def headers_of_body(self, resource: Resource, start: int) -> dict[str, str | None]:
        """Return the headers of a body that starts at an offset."""
        headers = {"ETag": resource.etag, "Last-Modified": resource.modified}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(resource.body) - 1}/{len(resource.body)}"
        if resource.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif resource.length:
            headers["Content-Length"] = str(len(resource.body) - start)
        return headers

    def start(self, resource: Resource) -> int:
        """Return the offset at which the body starts."""
        wanted = self.headers.get("Range")
        same = self.headers.get("If-Range") in (resource.etag, resource.modified) or not resource.if_range
        return int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and resource.ranges and same else 0

    def send(self, resource: Resource, body: bytes) -> None:
        """Send the body, or a part of it."""
        stop = resource.cuts.pop(0) if resource.cuts else len(body)
        stall = resource.stalls.pop(0) if resource.stalls else None
        part = body[:stop]
        if resource.chunked:
            part = b"%x\r\n%s\r\n" % (len(part), part) + b"0\r\n\r\n" * (stop >= len(body))
        self.wfile.write(part[: len(part) // 2])
        self.wfile.flush()
        if stall:
            stall()
        self.wfile.write(part[len(part) // 2 :])

    def reply(self, status: int, headers: dict[str, str | None]) -> None:
        """Send status line and headers."""
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""

    def handle(self) -> None:
        """Ignore a client that has closed its connection."""
        with suppress(ConnectionError):
            super().handle()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site that a server on this machine serves."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = Site()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": site})) as server:
        site.base = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture
def client() -> Client:
    """A client with short waits."""
    return Client(ClientConfig(timeout_seconds=5, retries=3, backoff_seconds=0.01))


@pytest.fixture
def make_resource() -> type[Resource]:
    """The class of resources, since test files cannot import this one."""
    return Resource
