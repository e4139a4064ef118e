"""Second stage: a tokenizer, read from a published vocabulary or trained on the documents."""

from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
from tokenizers import Tokenizer

from preprocessing.corpus.corpus import Corpus
from preprocessing.errors import DataError
from preprocessing.files import sha256_file, write_json
from preprocessing.options import TokenizerConfig
from preprocessing.progress import LOG
from preprocessing.schema import MANIFEST_NAME, TRAIN
from preprocessing.stage_directory import complete_stage, open_stage
from preprocessing.tokenizer.given import Given, identity, read_given
from preprocessing.tokenizer.normalization import MAX_MARKS, count_characters, settings_of, share_of_marks
from preprocessing.tokenizer.registry import KINDS, kind_of, size_of
from preprocessing.tokenizer.review import REPORT_NAME, Review, kept_marks
from preprocessing.tokenizer.saving import save_tokenizer

_TRIED_BYTES = 8e6
"""Bytes of text on which a given vocabulary is reviewed."""


def read_vocabulary(config: TokenizerConfig) -> Given:
    """Reads the vocabulary `config.vocab` and checks it against the other options.

    Raises:
        DataError: it is not a vocabulary, or not of the requested kind, size or case.
    """
    assert config.vocab is not None, "callers check that a vocabulary is given"
    given = read_given(config.vocab, config.lower_case, config.strip_accents)
    found = next(name for name, kind in KINDS.items() if kind is kind_of(given.tokenizer))
    if config.kind not in (None, found):
        raise DataError(
            f"{config.vocab}: kind = {config.kind}: the vocabulary is of kind {found}; leave the option out"
        )
    if config.vocab_size not in (None, size_of(given.tokenizer)):
        raise DataError(
            f"{config.vocab}: vocab_size = {config.vocab_size:,}: the vocabulary has {size_of(given.tokenizer):,} "
            "tokens; leave the option out"
        )
    return given


def prepare_tokenizer(directory: Path, config: TokenizerConfig, documents: Path) -> None:
    """Writes the tokenizer and its report into `directory`.

    Args:
        directory: output directory of the stage.
        config: options of the stage.
        documents: directory of the extract stage. A vocabulary is trained on it; a given one is reviewed on it, if it
            is complete.

    Raises:
        DataError: the given vocabulary is not one, or not of the requested kind, size or case.
    """
    if config.vocab is None:
        _train(directory, config, Corpus.open(documents))
        return
    given = read_vocabulary(config)
    settings = settings_of(given.tokenizer)
    options = {"vocab": str(config.vocab), **asdict(settings)}
    if not open_stage(directory, "tokenizer", options, {"vocab_sha256": identity(config.vocab)}):
        is_extracted = (documents / MANIFEST_NAME).is_file()
        batches = sample(Corpus.open(documents), _TRIED_BYTES) if is_extracted else []
        found = Review.of(given.tokenizer, count_characters(batches))
        _publish(directory, given.tokenizer, found, given.notes, found.warnings())


def _train(directory: Path, config: TokenizerConfig, corpus: Corpus) -> None:
    lower_case = config.wanted.lower_case if config.lower_case is None else config.lower_case
    chosen = {
        "kind": config.trained_kind,
        "vocab_size": config.size,
        "lower_case": lower_case,
        "character_coverage": config.coverage,
    }
    if open_stage(directory, "tokenizer", asdict(config) | chosen, {"documents_sha256": corpus.sha256}):
        return
    batches = sample(corpus, config.train_mb * 1e6)
    LOG.info(f"tokenizer: training {config.size:,} pieces on {sum(batch.nbytes for batch in batches) / 1e6:,.0f} MB")
    counts = count_characters(batches)
    strip_accents, notes = config.strip_accents, []
    if strip_accents is None:
        strip_accents = lower_case and share_of_marks(counts) <= MAX_MARKS
        if lower_case and not strip_accents:
            notes.append(kept_marks(counts))
    options = {} if config.coverage is None else {"character_coverage": config.coverage}
    tokenizer = KINDS[config.trained_kind].train(batches, config.size, lower_case, strip_accents, **options)
    found = Review.of(tokenizer, counts)
    _publish(
        directory, tokenizer, found, [], [*notes, *found.shortfalls(config.size, config.coverage), *found.warnings()]
    )


def sample(corpus: Corpus, num_bytes: float) -> list[pa.StringArray]:
    """Sentences of the first training documents, in chunks, until they have `num_bytes`."""
    batches: list[pa.StringArray] = []
    size = 0
    for partition in corpus.partitioning.partitions(TRAIN):
        for chunk in corpus.chunks(partition):
            if size >= num_bytes:
                return batches
            batches.append(chunk.flatten())
            size += batches[-1].nbytes
    return batches


def _publish(directory: Path, tokenizer: Tokenizer, found: Review, logged: list[str], notes: list[str]) -> None:
    """Writes the files and the report, completes the stage, and logs the notes.

    Args:
        directory: output directory of the stage.
        tokenizer: tokenizer to write.
        found: review of the tokenizer.
        logged: notes that were logged when the vocabulary was read.
        notes: notes to log.
    """
    save_tokenizer(tokenizer, directory)
    write_json(directory / REPORT_NAME, asdict(found) | {"notes": [*logged, *notes]})
    checksum = sha256_file(directory / "tokenizer.json")
    manifest = {"vocab_size": found.vocab_size, "tokenizer_sha256": checksum}
    complete_stage(directory, lambda: write_json(directory / MANIFEST_NAME, manifest))
    LOG.info(f"{directory}: {found.vocab_size:,} tokens")
    for note in notes:
        LOG.warning(f"{directory}: {note}")
