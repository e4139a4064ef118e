"""Requests as a polite client makes them: it says who it is, waits when it is told to, and gives up in the end.

The standard library does the protocol. Failures fall in two: a `TransientError` may pass (a lost connection, a server
that is overloaded) and is tried again; a `DataError` will not (no such file).
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
"""A server that asks for more than that is better tried another time."""


class TransientError(Exception):
    """What may go well another time."""

    def __init__(self, message: str, wait_seconds: float = 0) -> None:
        """`wait_seconds`: what the server asks for."""
        super().__init__(message)
        self.wait_seconds = wait_seconds


class StatusError(DataError):
    """The server's answer is no."""

    def __init__(self, message: str, status: int) -> None:
        """`status`: of HTTP."""
        super().__init__(message)
        self.status = status


class Client:
    """Makes requests, from several threads, until it is stopped."""

    def __init__(self, config: ClientConfig) -> None:
        """Contacts nobody yet."""
        self.config = config
        self._stopped = threading.Event()
        contact = f"; {config.contact}" if config.contact else ""
        self._headers = {"User-Agent": f"bert-pipeline (python -m preprocessing download{contact})"}

    def open(self, url: str, headers: dict[str, str] | None = None) -> HTTPResponse:
        """Sends a GET request and returns the response, its body yet to be read.

        Raises:
            DataError: not an address of HTTP, or the server refuses (`StatusError`).
            TransientError: no connection, or the server has a problem.
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
            raise DataError(f"{url}: {error}; check the address, letters beyond ASCII are written as %..") from None
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            if isinstance(reason, SSLCertVerificationError):
                raise DataError(f"{url}: {reason}; this is not the server, or it needs a certificate here") from None
            raise TransientError(f"{url}: {reason or type(reason).__name__}") from None

    def read(self, response: HTTPResponse) -> bytes:
        """The next bytes of a body, as many as are there; none at its end.

        Raises:
            TransientError: the connection was lost, or stopped giving anything.
        """
        self._check()
        try:
            return response.read1(CHUNK_BYTES)
        except (OSError, HTTPException) as error:
            raise TransientError(f"{response.url}: {error or type(error).__name__}") from None

    def document(self, url: str) -> bytes:
        """A whole small body, tried again as often as allowed.

        Raises:
            DataError: as `open`; or the server's problem lasts.
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
            attempt: what to do.
            achieved: how far the attempts have come together; if that is farther than ever, they are not in vain.

        Raises:
            DataError: a number of attempts in a row brought nothing.
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
                    raise DataError(f"{error}; run the same command again later: it continues") from None
                wait = max(error.wait_seconds, backoff)
                LOG.info(f"{error}; trying again in {wait:.0f} s")
                self._stopped.wait(wait)
                self._check()

    def stop(self) -> None:
        """Makes every thread that uses the client fail soon."""
        self._stopped.set()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise DataError("stopped")


def check_url(url: str) -> None:
    """Checks that an address is one of HTTP.

    Raises:
        DataError: it is not.
    """
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        right = False
    if not right:
        raise DataError(f"{url}: not an address of the form https://host/path; check it")


class _Redirects(HTTPRedirectHandler):
    """The standard library follows redirects to ftp: also."""

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
    remedy = "some servers ask who you are: --contact" if error.code == 403 else "check the address"
    return StatusError(f"{message}; {remedy}", error.code)


def _seconds(retry_after: str) -> float:
    """The wait that a Retry-After header asks for, in seconds or as a date (RFC 9110, section 10.2.3)."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0
