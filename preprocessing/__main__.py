"""Command line: `python -m preprocessing run|extract|tokenizer|build|inspect|verify`.

Options are the fields of the stages' dataclasses, and `--help` shows their docstrings. All stages of a corpus share one
directory `--out`: documents/, tokenizer/ and samples<max_seq_length>/.
"""

import logging
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from preprocessing.errors import DataError
from preprocessing.inspect import inspect
from preprocessing.stages.build import BuildConfig, build
from preprocessing.stages.directory import check_vacant
from preprocessing.stages.extract import ExtractConfig, extract
from preprocessing.stages.verify import verify
from preprocessing.stages.vocabulary import TokenizerConfig, prepare_tokenizer
from preprocessing.workers import SerialExecutor, WorkersConfig, run_job

Config = TypeVar("Config")

COMMANDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "run": ("all three stages, each where it is not done", (ExtractConfig, TokenizerConfig, BuildConfig, WorkersConfig)),
    "extract": ("first stage: sources -> OUT/documents", (ExtractConfig, WorkersConfig)),
    "tokenizer": ("second stage: a vocabulary, given or trained -> OUT/tokenizer", (TokenizerConfig,)),
    "build": ("third stage: sentence pairs -> OUT/samples<max_seq_length>", (BuildConfig, WorkersConfig)),
    "inspect": ("show what a samples directory holds", ()),
    "verify": ("compare all files with their checksums", ()),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 1 after an error. Exits 2 on wrong usage."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    options = make_parser().parse_args(arguments)
    command, options = options.command, options[options.command]
    if WorkersConfig not in COMMANDS[command][1]:
        return exit_status(lambda: run_command(command, options, SerialExecutor()))
    job: Callable[[Executor], int] = lambda executor: exit_status(lambda: run_command(command, options, executor))
    try:
        return run_job(take(WorkersConfig, options), job)
    except DataError as error:
        return exit_status_of(error)


