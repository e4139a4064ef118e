"""Options of the downloads and their rules; like `preprocessing/options.py`, without imports of the implementation."""

import re
from dataclasses import dataclass, field

from preprocessing.languages import CODES, meant_language

LATEST = "latest"
DATE = r"\d{8}"


@dataclass(frozen=True)
class WikipediaConfig:
    """Options of `download wikipedia`."""

    language: str
    """Subdomain of the Wikipedia: en, de, simple, zh-min-nan."""
    date: str = LATEST
    """Date of the dump, YYYYMMDD, as listed under MIRROR/enwiki/; latest: the newest dump with complete articles."""
    mirror: str = "https://dumps.wikimedia.org"
    """Base URL of the dumps; mirrors are listed at
    https://meta.wikimedia.org/wiki/Mirroring_Wikimedia_project_XML_dumps."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.language):
            raise ValueError(f"language = {self.language!r}: must be the subdomain of a Wikipedia, such as en")
        if self.language not in CODES and (meant := meant_language(self.language)):  # A new Wikipedia may be unknown.
            raise ValueError(
                f"language = {self.language!r}: must be the subdomain of a Wikipedia; did you mean {meant}?"
            )
        if self.date != LATEST and not re.fullmatch(DATE, self.date):
            raise ValueError(f"date = {self.date!r}: must be YYYYMMDD or {LATEST}")

    @property
    def wiki(self) -> str:
        """Name of the wiki's database, such as `dewiki`."""
        return self.language.replace("-", "_") + "wiki"

    @property
    def listing(self) -> str:
        """URL of the list of dumps of this Wikipedia."""
        return f"{self.mirror.rstrip('/')}/{self.wiki}/"


@dataclass(frozen=True)
class UrlConfig:
    """Options of `download url`."""

    urls: list[str]
    """URLs of the files, http: or https:. The last part of each is the name of the file."""
    sha256: list[str] = field(default_factory=list)
    """SHA-256 of each file in hexadecimal, in the same order; without them only the sizes are checked."""

    def __post_init__(self) -> None:
        if self.sha256 and len(self.sha256) != len(self.urls):
            raise ValueError(f"sha256 has {len(self.sha256)} values for {len(self.urls)} urls, must have one for each")
        for digest in self.sha256:
            if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
                raise ValueError(f"sha256 = {digest!r}: must be 64 hexadecimal digits")


@dataclass(frozen=True)
class ClientConfig:
    """Options of the HTTP client."""

    contact: str = ""
    """An e-mail address or web page at which the server's operators can reach you. Wikimedia asks for one, and may
    refuse programs that name none (Wikimedia Foundation User-Agent Policy)."""
    connections: int = 2
    """Number of files downloaded at a time: 1 or 2, the limit of Wikimedia."""
    timeout_seconds: float = 60
    """Timeout for a connection, and for the next bytes, in seconds."""
    retries: int = 8
    """Number of retries after a lost connection or an overloaded server without any progress in between."""
    backoff_seconds: float = 1
    """Wait before the first retry in seconds; it doubles with each retry, or is as long as the server asks."""

    def __post_init__(self) -> None:
        if any(character in "()" or not character.isprintable() for character in self.contact):
            raise ValueError(f"contact = {self.contact!r}: must be an e-mail address or web page")
        if self.connections not in (1, 2):
            raise ValueError(f"connections = {self.connections}: must be 1 or 2: servers refuse more")
        if self.retries < 0:
            raise ValueError(f"retries = {self.retries}: must be 0 or more")
        for name in ("timeout_seconds", "backoff_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} = {getattr(self, name)}: must be above 0")
