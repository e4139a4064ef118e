"""First stage: sources -> documents, split into sentences, filtered, and assigned to partitions."""

import os
import stat
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from logging import INFO, WARNING
from pathlib import Path

import numpy as np

from preprocessing.corpus.corpus import Corpus, DocumentFile, Stored, write_documents
from preprocessing.corpus.deduplicate import find_duplicates, signature
from preprocessing.corpus.language import (
    documents_by_language,
    is_known,
    language_messages,
    language_of,
    language_warnings,
)
from preprocessing.corpus.partitioning import Partitioning, key_of
from preprocessing.corpus.report import Tally
from preprocessing.errors import DataError
from preprocessing.files import atomic_path, read_json, reading, write_json
from preprocessing.filters import collect_ngrams, load_ngrams, normalize, reason_to_drop
from preprocessing.inputs import ArchiveFiles
from preprocessing.options import ExtractConfig, FilterConfig
from preprocessing.progress import LOG, progress
from preprocessing.sentences import split_sentences
from preprocessing.sources.documents import (
    LONG_SENTENCE,
    NO_SENTENCES,
    NOT_UTF8,
    UNREADABLE,
    BadRecord,
    Document,
    InputSplit,
    LeftOut,
)
from preprocessing.sources.registry import SourceSplits, split_sources
from preprocessing.stage_directory import UNREADABLE_INPUT, complete_stage, finish_file, open_stage
from preprocessing.workers import run_tasks

REPORT_NAME = "report.json"
_MEGABYTE = 10**6
_CHECKS = ("max_bad_share", "max_left_out_share")


@dataclass(frozen=True)
class ExtractTask:
    """Task of a worker: read one input split."""

    number: int
    source: int
    split: InputSplit
    language: str
    directory: Path
    partitioning: Partitioning
    config: ExtractConfig
    filters: FilterConfig
    contamination: Path | None


def extract(directory: Path, config: ExtractConfig, filters: FilterConfig, executor: Executor) -> Corpus:
    """Reads the sources into `directory`; resumes an interrupted run.

    Raises:
        DataError: the input has errors, or too many bad records, or the directory has other content.
    """
    planned = _split_sources(config)
    splits = [split for source in planned for split in source.splits]
    sources = [number for number, source in enumerate(planned) for _ in source.splits]
    languages = [language_of(split, config.language) for split in splits]
    files = [*filters.decontaminate, *(path for split in splits for path in split.files)]
    if open_stage(directory, "extract", _options(config, filters, languages, planned), _inputs(files)):
        _warn_of_unreadable(directory)
        return Corpus.open(directory)
    warnings = _tell_languages(config, planned, languages, filters)
    contamination = _save_ngrams(directory, filters)
    sizes = [split.num_bytes for split in splits]
    partitioning = Partitioning.of(sum(sizes), int(config.partition_mb * _MEGABYTE), config.heldout_share)
    tasks = [
        ExtractTask(number, source, split, language, directory, partitioning, config, filters, contamination)
        for number, (source, split, language) in enumerate(zip(sources, splits, languages, strict=True))
    ]
    with progress(sum(sizes), "extract") as bar:
        records = run_tasks(executor, extract_split, tasks, lambda number: bar.update(sizes[number]))
    tally = Tally.of_splits([record.pop("tally") for record in records], splits)
    for source, of_source in zip(config.sources, planned, strict=True):
        if of_source.files.read:
            tally.add_files(source, of_source.files.to_dict())
    stored = tuple(DocumentFile(**record) for record in records)
    corpus = Corpus(directory, tuple(config.sources), partitioning, stored)
    tally.languages = documents_by_language(corpus)
    tally.warnings = [*warnings, *language_warnings(corpus, warnings)]
    return _complete(corpus, tally, config, filters)


def _complete(corpus: Corpus, tally: Tally, config: ExtractConfig, filters: FilterConfig) -> Corpus:
    """Drops duplicates, writes the report, checks it, and publishes the corpus."""
    if filters.deduplicate != "no":
        dropped, reasons = find_duplicates(corpus, filters.near_threshold if filters.deduplicate == "near" else None)
        corpus = corpus.drop(dropped)
        tally.add_left_out(reasons)
    write_json(corpus.directory / REPORT_NAME, asdict(tally))
    tally.check(config.max_bad_share, config.max_left_out_share)
    LOG.info(f"{corpus.directory}: {tally.text()}")
    complete_stage(corpus.directory, corpus.publish)
    return corpus


def _split_sources(config: ExtractConfig) -> list[SourceSplits]:
    """Cuts each source into input splits, and logs which files of a directory are left out before the work begins."""
    planned = split_sources(
        config.sources, int(config.split_mb * _MEGABYTE), config.text_key, config.max_left_out_share
    )
    for source, of_source in zip(config.sources, planned, strict=True):
        if lines := of_source.files.lines(source):
            LOG.log(WARNING if of_source.files.lost_bytes else INFO, "\n".join(lines))
        for note in of_source.notes:
            LOG.warning(f"{source}: {note}")
    return planned


def extract_split(task: ExtractTask) -> dict:
    """Reads one input split into one file, unless an earlier run did; returns its manifest entry and `tally`."""
    name = f"split-{task.number:05d}"

    def make() -> dict:
        tally = Tally()
        path = task.directory / f"{name}.arrow"
        file = write_documents(path, _blocks(task, tally), len(task.partitioning), task.source, task.language)
        return asdict(file) | {"tally": asdict(tally)}

    return finish_file(task.directory, name, make, lambda record: UNREADABLE not in record["tally"]["bad"])


def _warn_of_unreadable(directory: Path) -> None:
    """Logs a warning if files could not be read when a complete corpus was made."""
    tally = read_json(directory / REPORT_NAME) if (directory / REPORT_NAME).is_file() else {}
    if count := tally.get("bad", {}).get(UNREADABLE):
        place, detail = tally["first"][UNREADABLE][0]
        LOG.warning(
            f"{directory}: made without {count:,} file(s) that could not be read, the first {place}: {detail}; "
            "to read them now, remove this directory or give another --out"
        )


def _save_ngrams(directory: Path, filters: FilterConfig) -> Path | None:
    """Saves the n-grams of the evaluation data for the workers; returns the file, None if no evaluation data is
    given."""
    if not filters.decontaminate:
        return None
    path = directory / "contamination.npy"
    table = collect_ngrams(filters.decontaminate, filters.ngram_words)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, table)
    return path


def _blocks(task: ExtractTask, tally: Tally) -> Iterator[list[list[Stored]]]:
    """Blocks of the documents of an input split by partition, each of about `split_mb`, since splits may be larger."""
    block: list[list[Stored]] = [[] for _ in range(len(task.partitioning))]
    size = 0
    for record in _records(task.split):
        if isinstance(record, ArchiveFiles):
            tally.add_files(record.archive, record.counts.to_dict())
            continue
        tally.records += 1
        kept = _keep(record, task, tally)
        if not kept:
            continue
        sentences, text, bad = _sentences(kept, task.config, task.language)
        if bad:
            tally.add_bad(bad)
        if sentences:
            tally.add_document(sentences)
            key = key_of(text)
            minhash = signature(" ".join(sentences)) if task.filters.deduplicate == "near" else b""
            block[task.partitioning.partition(key)].append(Stored(sentences, key, minhash))
            size += len(text)
        if size >= task.config.split_mb * _MEGABYTE:
            yield block
            block, size = [[] for _ in range(len(task.partitioning))], 0
    if size:
        yield block


def _records(split: InputSplit) -> Iterator[Document | BadRecord | LeftOut | ArchiveFiles]:
    with reading(*split.files):
        yield from split.records()


def _keep(record: Document | BadRecord | LeftOut, task: ExtractTask, tally: Tally) -> Document | BadRecord | None:
    """The record with normalised text; None if its source or a filter leaves the document out, which is counted."""
    if isinstance(record, LeftOut):
        tally.add_left_out({record.reason: 1})
        return None
    if isinstance(record, BadRecord):
        return record
    text = normalize(record.text, task.filters)
    reason = reason_to_drop(text, task.language, task.filters, load_ngrams(task.contamination))
    if reason:
        tally.add_left_out({reason: 1})
        return None
    return Document(text, record.position)


def _sentences(
    record: Document | BadRecord, config: ExtractConfig, language: str
) -> tuple[list[str], bytes, BadRecord | None]:
    """The sentences of a record, its text in UTF-8, and a bad record if something is wrong with it."""
    if isinstance(record, BadRecord):
        return [], b"", record
    try:
        text = record.text.encode("utf-8")
    except UnicodeEncodeError as error:  # JSON may contain half of a surrogate pair: "\ud800".
        return [], b"", BadRecord(NOT_UTF8, record.position, str(error))
    kept, dropped = split_sentences(record.text, language, config.max_sentence_chars)
    if dropped:
        detail = f"{max(dropped):,} characters, more than max_sentence_chars = {config.max_sentence_chars:,}; left out"
        return kept, text, BadRecord(LONG_SENTENCE, record.position, detail)
    return kept, text, None if kept else BadRecord(NO_SENTENCES, record.position, "the text is empty or white space")


def _tell_languages(
    config: ExtractConfig, planned: list[SourceSplits], languages: list[str], filters: FilterConfig
) -> list[str]:
    """Logs the languages of dumps, and returns the warnings where they contradict the user.

    Raises:
        DataError: `check_language` is set and py3langid does not know a language.
    """
    if filters.check_language and (unknown := [language for language in languages if not is_known(language)]):
        raise DataError(f"--check_language: py3langid does not know the language {unknown[0]}; leave the option out")
    warnings = []
    for source, of_source in zip(config.sources, planned, strict=True):
        lines, contradictions = language_messages(source, of_source.splits, config.language)
        for line in lines:
            LOG.info(line)
        for line in contradictions:
            LOG.warning(line)
        warnings += contradictions
    return warnings


def _options(config: ExtractConfig, filters: FilterConfig, languages: list[str], planned: list[SourceSplits]) -> dict:
    """The options that determine the documents, and the versions of software whose documentation they are.

    Other options only determine whether the documents are published.
    """
    options = asdict(config) | asdict(filters) | {"decontaminate": [str(path) for path in filters.decontaminate]}
    options["language"] = ", ".join(sorted(set(languages)))
    versions = {name: version for source in planned for name, version in source.versions.items()}
    options |= {"versions": versions} if versions else {}
    return {name: value for name, value in options.items() if name not in _CHECKS}


def _inputs(files: list[Path]) -> dict[str, str]:
    """Identity of each input file: size and modification time, as reading the files for checksums would be as slow as
    the stage.

    A file without read permission is marked, since neither value changes when permission is granted.

    Raises:
        DataError: a file does not exist, or is not a regular file.
    """
    return {str(path): _identity(path) for path in files}


def _identity(path: Path) -> str:
    try:
        found = path.stat()
    except OSError as error:
        if not path.is_symlink():
            raise DataError(f"{path}: {error.strerror}; check --sources and --decontaminate") from None
        return f"{UNREADABLE_INPUT}: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path}: is not a regular file; remove it, or check --sources and --decontaminate")
    if not os.access(path, os.R_OK):
        return f"{UNREADABLE_INPUT}: no permission"
    return f"{found.st_size} bytes, modified at {found.st_mtime_ns} ns"
