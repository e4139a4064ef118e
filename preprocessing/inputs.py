"""Counts of the files of a directory, or members of an archive, that are read or left out."""

from dataclasses import asdict, dataclass, field
from typing import Any

from preprocessing.errors import DataError

_NAMES_SHOWN = 5
_REASONS_IN_ERRORS = 4


@dataclass(frozen=True)
class FoundFile:
    """A file of a directory, or a member of an archive."""

    path: str
    num_bytes: int
    reason: str = ""
    """Reason why the file is left out; empty if it is read."""
    lost: bool = False
    """Whether a file that is left out may contain text to be read, unlike a checksum or a licence."""


@dataclass
class FileCounts:
    """Counts of the files in one directory or archive; plain values, so that they can be stored as JSON."""

    read: int = 0
    """Number of files that are read."""
    read_bytes: int = 0
    """Size of the files that are read, in bytes."""
    lost_bytes: int = 0
    """Size of the files that are left out although they may contain text, in bytes."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Number of files that are left out, by reason."""
    first: dict[str, list[str]] = field(default_factory=dict)
    """Names of the first files that are left out, by reason."""
    left_out_bytes: dict[str, int] = field(default_factory=dict)
    """Size of the files that are left out in bytes, by reason."""

    def add(self, file: FoundFile) -> None:
        """Adds a file to the counts."""
        if not file.reason:
            self.read += 1
            self.read_bytes += file.num_bytes
            return
        self.lost_bytes += file.num_bytes * file.lost
        self._leave_out(file.reason, 1, [file.path], file.num_bytes)

    def merge(self, other: dict[str, Any]) -> None:
        """Adds counts that were stored with `to_dict`."""
        counts = FileCounts(**other)
        self.read += counts.read
        self.read_bytes += counts.read_bytes
        self.lost_bytes += counts.lost_bytes
        for reason, number in counts.left_out.items():
            self._leave_out(reason, number, counts.first[reason], counts.left_out_bytes.get(reason, 0))

    def to_dict(self) -> dict[str, Any]:
        """The counts as a JSON object."""
        return asdict(self)

    @property
    def lost_share(self) -> float:
        """Share of the bytes in files that are left out although they may contain text."""
        return self.lost_bytes / max(1, self.lost_bytes + self.read_bytes)

    def _leave_out(self, reason: str, number: int, names: list[str], num_bytes: int) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + number
        self.left_out_bytes[reason] = self.left_out_bytes.get(reason, 0) + num_bytes
        self.first[reason] = [*self.first.get(reason, []), *names][:_NAMES_SHOWN]

    def lines(self, place: str) -> list[str]:
        """The files that are left out, as lines of text; empty if every file is read."""
        if not self.left_out:
            return []
        total = sum(self.left_out.values())
        head = f"{place}: {_files(self.read)} read, {total:,} left out"
        return [head, *(f"  {reason}: {self._count_and_names(reason)}" for reason in sorted(self.left_out))]

    def summary(self) -> str:
        """The files that are left out, in one line."""
        reasons = sorted(self.left_out, key=lambda reason: (-self.left_out[reason], reason))
        shown = [f"{reason}: {self._count_and_names(reason, 2)}" for reason in reasons[:_REASONS_IN_ERRORS]]
        return "; ".join([*shown, *["..."] * (len(reasons) > _REASONS_IN_ERRORS)])

    def _count_and_names(self, reason: str, most: int = _NAMES_SHOWN) -> str:
        names = self.first[reason][:most]
        more = ", ..." * (self.left_out[reason] > len(names))
        return f"{self.left_out[reason]:,} ({', '.join(names)}{more})"

    def check(self, place: str, max_share: float) -> None:
        """Checks that enough of a directory or archive is read.

        Raises:
            LeftOutError: no file is read, or more than `max_share` of the bytes are left out.
        """
        if not self.read:
            found = f"left out: {self.summary()}" if self.left_out else "the directory is empty"
            raise LeftOutError(f"{place}: no file in it is read; {found}")
        if self.lost_share > max_share:
            raise LeftOutError(
                f"{place}: {self.lost_share:.0%} of the bytes are in files that are not read, more than "
                f"max_left_out_share = {max_share:g} allows; left out: {self.summary()}; move them elsewhere, name the "
                "files to read by a pattern such as 'DIRECTORY/*.txt', or raise --max_left_out_share"
            )


@dataclass(frozen=True)
class ArchiveFiles:
    """Counts of the members of an archive, if some of them are left out."""

    archive: str
    counts: FileCounts


class LeftOutError(DataError):
    """Too much of a directory or an archive is left out."""


def _files(number: int) -> str:
    return f"{number:,} file{'s' * (number != 1)}"
