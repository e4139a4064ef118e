"""The options of the downloads, and their rules; as `preprocessing/options.py`, without what the work needs."""

import re
from dataclasses import dataclass, field

from preprocessing.languages import CODES, meant_language

LATEST = "latest"
DATE = r"\d{8}"


@dataclass(frozen=True)
class WikipediaConfig:
    """Which dump."""

    language: str
    """Subdomain of the Wikipedia: en, de, simple, zh-min-nan."""
    date: str = LATEST
    """The dump's day, YYYYMMDD, as listed under MIRROR/enwiki/; latest: the newest whose articles are complete."""
    mirror: str = "https://dumps.wikimedia.org"
    """Where the dumps lie; mirrors are listed at https://meta.wikimedia.org/wiki/Mirroring_Wikimedia_project_XML_dumps."""

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
        """Name of the database."""
        return self.language.replace("-", "_") + "wiki"

    @property
    def listing(self) -> str:
        """Where the dumps of this Wikipedia are listed."""
        return f"{self.mirror.rstrip('/')}/{self.wiki}/"


@dataclass(frozen=True)
class UrlConfig:
    """Which files."""

    urls: list[str]
    """Their addresses, http: or https:. The last part of each names the file."""
    sha256: list[str] = field(default_factory=list)
    """Their SHA-256 in hexadecimal, in the same order; without it only the size is checked."""

    def __post_init__(self) -> None:
        if self.sha256 and len(self.sha256) != len(self.urls):
            raise ValueError(f"sha256 has {len(self.sha256)} values for {len(self.urls)} urls, must have one for each")
        for digest in self.sha256:
            if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
                raise ValueError(f"sha256 = {digest!r}: must be 64 hexadecimal digits")


@dataclass(frozen=True)
class ClientConfig:
    """How to behave towards servers."""

    contact: str = ""
    """An e-mail address or web page where the server's operators find you. Wikimedia asks for one, and may refuse
    programs that name none (Wikimedia Foundation User-Agent Policy)."""
    connections: int = 2
    """Files fetched at a time: 1 or 2, as many as Wikimedia allows."""
    timeout_seconds: float = 60
    """Longest wait for a connection, and on one for the next bytes."""
    retries: int = 8
    """How often to try again after a lost connection or an overloaded server, without any progress in between."""
    backoff_seconds: float = 1
    """Wait before the first of these; each further one waits twice as long, or as long as the server asks for."""

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
