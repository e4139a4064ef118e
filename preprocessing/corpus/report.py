"""Report of extraction: counts of documents, and bad records with their positions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from preprocessing.errors import DataError
from preprocessing.inputs import FileCounts
from preprocessing.sources.documents import BadRecord, InputSplit

_PLACES_SHOWN = 5
_DETAIL_CHARS = 300
_ONE_BAD_OF = 20
"""Fewest records of which one may be bad for any `max_bad_share` above 0: one of 50 books is already more than 1 %."""


@dataclass
class Tally:
    """Counts of one input split, or of all; plain values, so that they can be stored as JSON."""

    records: int = 0
    """Number of records read, good and bad."""
    documents: int = 0
    """Number of documents read and not filtered, including duplicates, which are found later."""
    sentences: int = 0
    """Number of sentences of those documents."""
    characters: int = 0
    """Number of characters of those documents."""
    lost_bytes: int = 0
    """Estimated bytes of text lost by damage that affects more than a record."""
    total_bytes: int = 0
    """Estimated bytes of text of the whole input."""
    bad: dict[str, int] = field(default_factory=dict)
    """Number of bad records by kind."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Number of documents that a source or a filter left out, by reason; these are no bad records."""
    first: dict[str, list] = field(default_factory=dict)
    """The first bad records of each kind: [position or place, detail]."""
    languages: dict[str, int] = field(default_factory=dict)
    """Number of stored documents by language."""
    warnings: list[str] = field(default_factory=list)
    """Warnings about languages."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Counts of the files of each directory and archive: `FileCounts` as JSON."""

    def add_document(self, sentences: list[str]) -> None:
        """Counts a document."""
        self.documents += 1
        self.sentences += len(sentences)
        self.characters += sum(map(len, sentences))

    def add_bad(self, record: BadRecord) -> None:
        """Counts a bad record, and keeps it if it is among the first of its kind."""
        self._add_bad(record.kind, 1, [[record.position, record.detail[:_DETAIL_CHARS]]])
        self.lost_bytes += record.lost_bytes

    def add_files(self, place: str, files: dict[str, Any]) -> None:
        """Adds the counts of a directory or an archive."""
        counts = FileCounts(**self.files.get(place, {}))
        counts.merge(files)
        self.files[place] = counts.to_dict()

    @property
    def file_counts(self) -> dict[str, FileCounts]:
        """Counts of the files of each directory and archive."""
        return {place: FileCounts(**files) for place, files in self.files.items()}

    def add_left_out(self, reasons: dict[str, int]) -> None:
        """Counts documents that are left out, by reason."""
        for reason, count in reasons.items():
            self.left_out[reason] = self.left_out.get(reason, 0) + count

    def _add_bad(self, kind: str, count: int, first: list) -> None:
        self.bad[kind] = self.bad.get(kind, 0) + count
        self.first[kind] = [*self.first.get(kind, []), *first][:_PLACES_SHOWN]

    @staticmethod
    def of_splits(tallies: Iterable[dict[str, Any]], splits: Iterable[InputSplit]) -> "Tally":
        """The sum of the tallies of all input splits, with human-readable positions of bad records."""
        total = Tally()
        for record, split in zip(tallies, splits, strict=True):
            tally = Tally(**record)
            total.records += tally.records
            total.documents += tally.documents
            total.sentences += tally.sentences
            total.characters += tally.characters
            total.lost_bytes += tally.lost_bytes
            total.total_bytes += split.num_bytes
            total.add_left_out(tally.left_out)
            for place, files in tally.files.items():
                total.add_files(place, files)
            for kind, count in tally.bad.items():
                room = _PLACES_SHOWN - len(total.first.get(kind, []))
                first = [[split.place(position), detail] for position, detail in tally.first[kind][:room]]
                total._add_bad(kind, count, first)
        return total

    @property
    def num_bad(self) -> int:
        """Number of bad records."""
        return sum(self.bad.values())

    def text(self) -> str:
        """The report as text: a line of totals, then each kind of bad record with its first positions."""
        share = self.num_bad / max(1, self.records)
        lines = [
            f"{self.documents:,} documents read, {self.sentences:,} sentences, {self.characters / 1e6:,.1f} million "
            f"characters; {self.num_bad:,} of {self.records:,} records are bad ({share:.2%})"
        ]
        languages = (f"{language} {count:,}" for language, count in sorted(self.languages.items()))
        lines += [f"  documents by language: {', '.join(languages)}"] * bool(self.languages)
        if self.lost_bytes:
            lines.append(f"  about {self.lost_bytes / 1e6:,.1f} of {self.total_bytes / 1e6:,.1f} MB could not be read")
        lines += [f"  left out, {reason}: {self.left_out[reason]:,}" for reason in sorted(self.left_out)]
        for kind in sorted(self.bad):
            lines.append(f"  {kind}: {self.bad[kind]:,}, first at")
            lines += [f"    {place}: {detail}" for place, detail in self.first[kind]]
        for place, files in self.file_counts.items():
            lines += [f"  {line}" for line in files.lines(place)]
        lines += [f"  {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def check(self, max_bad_share: float, max_left_out_share: float = 0.5) -> None:
        """Checks that the documents may be published.

        Raises:
            DataError: there are too many bad records, too much text is lost by damage, too much of a directory or
                archive is left out, or there is no document.
        """
        allowed = f"more than max_bad_share = {max_bad_share:g} allows"
        one = max_bad_share > 0 and self.num_bad == 1 and self.records >= _ONE_BAD_OF
        if self.num_bad > max_bad_share * self.records and not one:
            remedy = ", or raise --max_bad_share" * (self.num_bad < self.records)
            raise DataError(
                f"{self.num_bad:,} of {self.records:,} records are bad, {allowed}; correct the input{remedy}\n"
                f"{self.text()}"
            )
        if self.lost_bytes > max_bad_share * self.total_bytes:
            raise DataError(
                f"about {self.lost_bytes / self.total_bytes:.1%} of the input could not be read, {allowed}; download "
                f"the damaged files again, or raise --max_bad_share to continue with the readable ones\n{self.text()}"
            )
        for place, files in self.file_counts.items():
            files.check(place, max_left_out_share)
        if not self.documents:
            raise DataError(f"--sources: no document in the input; give at least one\n{self.text()}")
