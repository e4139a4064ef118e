"""Checks of options against each other and against the files that they name, before any work begins."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preprocessing.options import BuildConfig, ExtractConfig, FilterConfig, TokenizerConfig, check_weights
from preprocessing.progress import LOG


def check_options(out: Path, configs: Mapping[type, Any]) -> None:
    """Checks early what a stage would only find after earlier stages have finished.

    Args:
        out: directory of the corpus.
        configs: configurations by their class.

    Raises:
        ValueError: options contradict each other, or one has no effect.
    """
    extract, build = configs.get(ExtractConfig), configs.get(BuildConfig)
    if extract:
        _check_places(out, extract.sources, configs[FilterConfig])
        _check_filters(configs[FilterConfig])
    if extract and build:
        check_weights(build.weights, extract.sources)


def check_vocabulary(configs: Mapping[type, Any]) -> None:
    """Reads the given vocabulary, if there is one, and logs its notes.

    Raises:
        DataError: the vocabulary cannot be used.
    """
    tokenizer = configs.get(TokenizerConfig)
    if tokenizer and tokenizer.vocab is not None:
        # Imported here because it loads the tokenizer libraries, which are not needed if no vocabulary is given.
        from preprocessing.stages.tokenizer import read_vocabulary

        for note in read_vocabulary(tokenizer).notes:
            LOG.warning(note)


def _check_places(out: Path, sources: list[str], filters: FilterConfig) -> None:
    """Checks that `out` is in no input directory: the next run would read the output of this one."""
    paths = [Path(path).expanduser() for _, colon, path in (source.partition(":") for source in sources) if colon]
    place = Path(os.path.realpath(out))
    for path in [*paths, *filters.decontaminate]:
        # Unlike pathlib's, these functions do not raise on unreadable paths, which are reported on opening them.
        if os.path.isdir(path) and Path(os.path.realpath(path)) in (place, *place.parents):
            raise ValueError(f"--out = {out}: is inside the input {path}; give a directory elsewhere")


def _check_filters(filters: FilterConfig) -> None:
    """Checks that no option is given that has no effect because of another one."""
    if filters.ngram_words != FilterConfig.ngram_words and not filters.decontaminate:
        raise ValueError(
            f"ngram_words = {filters.ngram_words}: has no effect without evaluation data; leave it out, or give "
            "--decontaminate"
        )
    if filters.near_threshold != FilterConfig.near_threshold and filters.deduplicate != "near":
        raise ValueError(
            f"near_threshold = {filters.near_threshold}: has no effect with deduplicate = {filters.deduplicate}; leave "
            "it out, or give --deduplicate near"
        )
