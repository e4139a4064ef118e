"""What lies in a directory: documents, a tokenizer, samples, or an `--out` directory with all of them."""

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
"""In place of the stage that completed a directory."""


@dataclass(frozen=True)
class SourceFigures:
    """One source of documents."""

    name: str
    """As on the command line."""
    documents: int
    """Documents stored, duplicates among them."""
    bytes: int
    """Size of their files."""
    text: TextFigures | None = None
    """What a sample of them looks like; None: it was not looked at."""


@dataclass(frozen=True)
class DocumentsFigures:
    """A documents directory."""

    directory: Path
    """Where it lies."""
    tally: Tally
    """What extraction found in the input."""
    files: int
    """Number of Arrow files of documents."""
    train: int
    """Documents to train on."""
    heldout: int
    """Documents held out."""
    sources: list[SourceFigures]
    """In the order of the command line."""
    config: dict[str, Any]
    """Options of the stage."""

    @property
    def bytes(self) -> int:
        """Size of the files of documents."""
        return sum(source.bytes for source in self.sources)


@dataclass(frozen=True)
class TokenizerFigures:
    """A tokenizer directory."""

    directory: Path
    """Where it lies."""
    vocab_size: int
    """Number of tokens, special ones included."""
    config: dict[str, Any]
    """Options of the stage."""
    settings: Settings
    """What its normalizer does."""
    unreachable: Unreachable
    """Its tokens that no text gives."""
    notes: list[str]
    """What the stage told when it made it."""


@dataclass(frozen=True)
class Overview:
    """Everything that is in a directory."""

    directory: Path
    """The directory."""
    documents: DocumentsFigures | None
    """The documents, if they are here."""
    tokenizer: TokenizerFigures | None
    """The tokenizer, if it is here; samples directories have a copy of their own."""
    samples: list[SamplesFigures]
    """By name."""
    unfinished: list[Path]
    """Directories that a stage has begun and not completed."""

    @property
    def configurations(self) -> dict[str, dict[str, Any]]:
        """The options that made it all, by what they made, those of a stage that several share only once."""
        here = {"extract": self.documents, "tokenizer": self.tokenizer}
        found = {stage: figures.config for stage, figures in here.items() if figures}
        for samples in self.samples:
            for stage, options in samples.manifest.config.items():
                if found.get(stage) != options:
                    found[f"{stage} of {samples.directory.name}"] = options
        return found


def look(directory: Path, num_examples: int, executor: Executor) -> Overview:
    """Measures what is in `directory`, or in the directories right below it.

    Args:
        directory: OUT, or one of the directories in it.
        num_examples: number of decoded samples per split.
        executor: counts shards.

    Raises:
        DataError: there is nothing of ours, it is not complete, or it is damaged.
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
    """The directory itself if a stage made it, otherwise those in it that one did."""
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
    """The stage that completed a directory, told by what its manifest has."""
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
