"""Options checked against each other and against the files that they name, before any work begins."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preprocessing.options import BuildConfig, ExtractConfig, FilterConfig, TokenizerConfig, check_weights
from preprocessing.progress import LOG


def check_options(out: Path, configs: Mapping[type, Any]) -> None:
    """Checks what a stage would only find when the stages before it have done their work.

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
    """Reads the vocabulary that is given, if one is, and says what its user should know.

    Raises:
        DataError: it cannot be used.
    """
    tokenizer = configs.get(TokenizerConfig)
    if tokenizer and tokenizer.vocab is not None:
        # Imported here because it brings what makes tokenizers, which wrong options do without.
        from preprocessing.stages.tokenizer import read_vocabulary

        for note in read_vocabulary(tokenizer).notes:
            LOG.warning(note)


def _check_places(out: Path, sources: list[str], filters: FilterConfig) -> None:
    """Checks that `out` lies in no input: the next run would read what this one wrote."""
    paths = [Path(path).expanduser() for _, colon, path in (source.partition(":") for source in sources) if colon]
    place = Path(os.path.realpath(out))
    for path in [*paths, *filters.decontaminate]:
        # Unlike pathlib's, these raise nothing for what cannot be read, which is told when it is opened.
        if os.path.isdir(path) and Path(os.path.realpath(path)) in (place, *place.parents):
            raise ValueError(f"--out = {out}: lies in the input {path}, which is searched; give a directory elsewhere")


def _check_filters(filters: FilterConfig) -> None:
    """Checks that no option is given that another one makes void."""
    if filters.ngram_words != FilterConfig.ngram_words and not filters.decontaminate:
        raise ValueError(
            f"ngram_words is {filters.ngram_words}, but no file of evaluation data is given: leave it out, or give "
            "--decontaminate"
        )
    if filters.near_threshold != FilterConfig.near_threshold and filters.deduplicate != "near":
        raise ValueError(
            f"near_threshold is {filters.near_threshold}, but deduplicate is {filters.deduplicate}: leave it out, or "
            "give --deduplicate near"
        )
