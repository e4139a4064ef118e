"""HTTP client that identifies itself, retries transient failures, and waits as long as servers ask.

The standard library implements the protocol. A `TransientError` (a lost connection, an overloaded server) is retried; a
`DataError` (no such file) is final.
"""

import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse, InvalidURL
from ssl import SSLCertVerificationError
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from preprocessing.download.options import ClientConfig
from preprocessing.errors import DataError
from preprocessing.progress import LOG

Result = TypeVar("Result")
CHUNK_BYTES = 1 << 20
_TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT_SECONDS = 600
"""Longest wait that is accepted from a server; a longer one ends the command with an error."""


class TransientError(Exception):
    """A failure that may not occur on another attempt."""

    def __init__(self, message: str, wait_seconds: float = 0) -> None:
        """`wait_seconds`: the wait that the server asks for."""
        super().__init__(message)
        self.wait_seconds = wait_seconds


class StatusError(DataError):
    """The server refused the request."""

    def __init__(self, message: str, status: int) -> None:
        """`status`: the HTTP status code."""
        super().__init__(message)
        self.status = status


class Client:
    """HTTP client for several threads, usable until it is stopped."""

    def __init__(self, config: ClientConfig) -> None:
        """Creates a client without making a request."""
        self.config = config
        self._stopped = threading.Event()
        contact = f"; {config.contact}" if config.contact else ""
        self._headers = {"User-Agent": f"bert-pipeline (python -m preprocessing download{contact})"}

    def open(self, url: str, headers: dict[str, str] | None = None) -> HTTPResponse:
        """Sends a GET request and returns the response with its body unread.

        Raises:
            DataError: the URL is not one of HTTP, or the server refuses (`StatusError`).
            TransientError: there is no connection, or the server has a problem.
        """
        check_url(url)
        try:
            return _OPENER.open(
                Request(url, headers=self._headers | (headers or {})), timeout=self.config.timeout_seconds
            )
        except HTTPError as error:
            with error:
                raise _refusal(url, error) from None
        except (InvalidURL, UnicodeError) as error:
            raise DataError(
                f"{url}: {error}; check the URL, in which letters beyond ASCII are written as %.."
            ) from None
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            if isinstance(reason, SSLCertVerificationError):
                raise DataError(
                    f"{url}: {reason}; this is not the right server, or its certificate is missing on this machine"
                ) from None
            raise TransientError(f"{url}: {reason or type(reason).__name__}") from None

    def read(self, response: HTTPResponse) -> bytes:
        """The next available bytes of a body; empty at its end.

        Raises:
            TransientError: the connection was lost or timed out.
        """
        self._check()
        try:
            return response.read1(CHUNK_BYTES)
        except (OSError, HTTPException) as error:
            raise TransientError(f"{response.url}: {error or type(error).__name__}") from None

    def document(self, url: str) -> bytes:
        """The whole body of a small document, with retries.

        Raises:
            DataError: as for `open`, or all retries failed.
        """

        def attempt() -> bytes:
            with self.open(url) as response:
                body = b"".join(iter(lambda: self.read(response), b""))
                if response.length:
                    raise TransientError(f"{url}: the connection ended {response.length:,} bytes too early")
                return body

        return self.retry(attempt, lambda: 0)

    def retry(self, attempt: Callable[[], Result], achieved: Callable[[], int]) -> Result:
        """Makes attempts until one succeeds.

        Args:
            attempt: function to call.
            achieved: progress of all attempts together; progress resets the number of retries.

        Raises:
            DataError: more than `retries` attempts in a row failed without progress.
        """
        failures, most = 0, achieved()
        while True:
            try:
                return attempt()
            except TransientError as error:
                if achieved() > most:
                    failures, most = 0, achieved()
                failures += 1
                backoff = min(self.config.backoff_seconds * 2 ** (failures - 1), _LONGEST_WAIT_SECONDS)
                if failures > self.config.retries or error.wait_seconds > _LONGEST_WAIT_SECONDS:
                    raise DataError(f"{error}; run the same command again later to resume") from None
                wait = max(error.wait_seconds, backoff)
                LOG.info(f"{error}; trying again in {wait:.0f} s")
                self._stopped.wait(wait)
                self._check()

    def stop(self) -> None:
        """Makes requests of all threads fail as soon as possible."""
        self._stopped.set()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise DataError("stopped")


def check_url(url: str) -> None:
    """Checks that a URL is one of HTTP or HTTPS.

    Raises:
        DataError: it is not.
    """
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        right = False
    if not right:
        raise DataError(f"{url}: not a URL of the form https://host/path; check it")


class _Redirects(HTTPRedirectHandler):
    """Redirect handler that refuses schemes other than HTTP; the standard library also follows ftp:."""

    def redirect_request(self, request, response, code, message, headers, url):  # type: ignore[no-untyped-def]
        try:
            check_url(url)
        except DataError as error:
            raise DataError(f"{request.full_url}: redirects to {error}") from None
        return super().redirect_request(request, response, code, message, headers, url)


_OPENER = build_opener(_Redirects)


def _refusal(url: str, error: HTTPError) -> Exception:
    message = f"{url}: the server answers {error.code} {error.reason}"
    if error.code in _TRANSIENT_STATUSES:
        return TransientError(message, _seconds(error.headers.get("Retry-After", "")))
    remedy = "some servers ask who you are: --contact" if error.code == 403 else "check the URL"
    return StatusError(f"{message}; {remedy}", error.code)


def _seconds(retry_after: str) -> float:
    """The wait that a Retry-After header asks for, in seconds or as a date (RFC 9110, section 10.2.3)."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0
