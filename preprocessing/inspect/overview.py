"""Overview of a directory of documents, a tokenizer or samples, or of an `--out` directory with all of them."""

from collections import Counter
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from preprocessing.corpus.corpus import Corpus
from preprocessing.corpus.report import Tally
from preprocessing.errors import DataError
from preprocessing.files import read_json
from preprocessing.inspect.figures import SamplesFigures
from preprocessing.inspect.measure import measure
from preprocessing.inspect.texts import TextFigures, measure_texts
from preprocessing.schema import MANIFEST_NAME, TRAIN
from preprocessing.stage_directory import STAGE_NAME, stage_config
from preprocessing.stages.extract import REPORT_NAME
from preprocessing.tokenizer import review as tokenizer_report
from preprocessing.tokenizer.normalization import Settings, Unreachable, settings_of, unreachable
from preprocessing.tokenizer.registry import size_of
from preprocessing.tokenizer.saving import load_tokenizer

_UNFINISHED = ""
"""Stage of a directory that no stage has completed."""


@dataclass(frozen=True)
class SourceFigures:
    """Figures of one source of documents."""

    name: str
    """The source as given on the command line."""
    documents: int
    """Number of documents stored, including duplicates."""
    bytes: int
    """Size of their files in bytes."""
    text: TextFigures | None = None
    """Figures of a sample of their text; None if it was not measured."""


@dataclass(frozen=True)
class DocumentsFigures:
    """Figures of a documents directory."""

    directory: Path
    """Path of the directory."""
    tally: Tally
    """Report of the extraction."""
    files: int
    """Number of Arrow files of documents."""
    train: int
    """Number of training documents."""
    heldout: int
    """Number of held-out documents."""
    sources: list[SourceFigures]
    """Figures of the sources, in the order of the command line."""
    config: dict[str, Any]
    """Options of the stage."""

    @property
    def bytes(self) -> int:
        """Size of the files of documents in bytes."""
        return sum(source.bytes for source in self.sources)


@dataclass(frozen=True)
class TokenizerFigures:
    """Figures of a tokenizer directory."""

    directory: Path
    """Path of the directory."""
    vocab_size: int
    """Number of tokens, special ones included."""
    config: dict[str, Any]
    """Options of the stage."""
    settings: Settings
    """Settings of its normalizer."""
    unreachable: Unreachable
    """Its tokens that never occur."""
    notes: list[str]
    """Notes that the stage logged."""


@dataclass(frozen=True)
class Overview:
    """Figures of everything in a directory."""

    directory: Path
    """Path of the directory."""
    documents: DocumentsFigures | None
    """Figures of the documents; None if there are none."""
    tokenizer: TokenizerFigures | None
    """Figures of the tokenizer; None if there is none. Samples directories have copies of their own."""
    samples: list[SamplesFigures]
    """Figures of the samples directories, ordered by name."""
    unfinished: list[Path]
    """Directories that no stage has completed."""

    @property
    def configurations(self) -> dict[str, dict[str, Any]]:
        """The options of each stage; samples directories are listed separately where their options differ."""
        here = {"extract": self.documents, "tokenizer": self.tokenizer}
        found = {stage: figures.config for stage, figures in here.items() if figures}
        for samples in self.samples:
            for stage, options in samples.manifest.config.items():
                if found.get(stage) != options:
                    found[f"{stage} of {samples.directory.name}"] = options
        return found


def measure_directory(directory: Path, num_examples: int, executor: Executor) -> Overview:
    """Measures a directory of a stage, or the directories of the stages right below it.

    Args:
        directory: OUT, or one of the directories in it.
        num_examples: number of decoded samples per split.
        executor: executor of the tasks that count shards.

    Raises:
        DataError: the directory has no output of this program, or it is incomplete or damaged.
    """
    stages = {place: _stage(place) for place in _places(directory)}
    if stages.get(directory) == _UNFINISHED:
        raise DataError(f"{directory}: no {MANIFEST_NAME}, so it is not finished; run the command that began it again")

    def places(stage: str) -> list[Path]:
        return [place for place in stages if stages[place] == stage]

    tokenizer = next(map(load_tokenizer, places("tokenizer")), None)
    return Overview(
        directory=directory,
        documents=next((_documents(place, tokenizer) for place in places("extract")), None),
        tokenizer=next((_tokenizer(place, tokenizer) for place in places("tokenizer") if tokenizer), None),
        samples=[measure(place, num_examples, executor) for place in places("build")],
        unfinished=places(_UNFINISHED),
    )


def _places(directory: Path) -> list[Path]:
    """The directory itself if a stage made it, otherwise the directories of stages in it."""
    if not directory.is_dir():
        raise DataError(f"{directory}: no such directory; give the --out of an earlier run, or a directory in it")
    candidates = [directory, *sorted(path for path in directory.iterdir() if path.is_dir())]
    names = (STAGE_NAME, MANIFEST_NAME)
    places = [path for path in candidates if any((path / name).is_file() for name in names)]
    if not places:
        raise DataError(
            f"{directory}: no {MANIFEST_NAME} in it or in a directory right below it, so `python -m preprocessing` "
            "did not make it; give the --out of an earlier run, or a directory in it"
        )
    return [directory] if directory in places else places


def _stage(directory: Path) -> str:
    """The stage that completed a directory, by the keys of its manifest."""
    if not (directory / MANIFEST_NAME).is_file():
        return _UNFINISHED
    keys = read_json(directory / MANIFEST_NAME).keys()
    return "build" if "splits" in keys else "extract" if "files" in keys else "tokenizer"


def _documents(directory: Path, tokenizer: Tokenizer | None) -> DocumentsFigures:
    corpus, config = Corpus.open(directory), stage_config(directory)
    texts = measure_texts(corpus, config.get("language") or "", tokenizer)
    counts: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    for file in corpus.files:
        counts[file.source] += sum(file.documents)
        sizes[file.source] += file.bytes
    train = sum(corpus.counts[partition] for partition in corpus.partitioning.partitions(TRAIN))
    return DocumentsFigures(
        directory=directory,
        tally=_tally(directory / REPORT_NAME),
        files=len(corpus.files),
        train=train,
        heldout=sum(corpus.counts) - train,
        sources=[
            SourceFigures(name, counts[number], sizes[number], texts[number])
            for number, name in enumerate(corpus.sources)
        ],
        config=config,
    )


def _tokenizer(directory: Path, tokenizer: Tokenizer) -> TokenizerFigures:
    path = directory / tokenizer_report.REPORT_NAME
    notes = read_json(path).get("notes", []) if path.is_file() else []
    return TokenizerFigures(
        directory=directory,
        vocab_size=size_of(tokenizer),
        config=stage_config(directory),
        settings=settings_of(tokenizer),
        unreachable=unreachable(tokenizer),
        notes=[str(note) for note in notes] if isinstance(notes, list) else [],
    )


def _tally(path: Path) -> Tally:
    try:
        tally = Tally(**read_json(path))
        _ = tally.file_counts
        return tally
    except (OSError, TypeError) as error:
        raise DataError(f"{path}: not the report of an extraction ({error}); extract again") from None
