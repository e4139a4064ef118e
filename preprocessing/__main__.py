"""Command line: `python -m preprocessing download|run|extract|tokenizer|build|inspect|verify|classification`.

Options are the fields of the stages' dataclasses; `--help` shows their docstrings. The stages of a corpus share one
directory OUT: OUT/documents, OUT/tokenizer and OUT/samples<max_seq_length>[-<segments>].

The implementation of a command is imported when it runs: Arrow and the tokenizers are too slow to load for a help text,
and each worker process, which imports this file first, needs only the imports of its own stage.
"""

import logging
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import Namespace, set_parsing_settings

from preprocessing.checks import check_options, check_vocabulary
from preprocessing.commandline import Parser, program
from preprocessing.download.options import ClientConfig, UrlConfig, WikipediaConfig
from preprocessing.errors import DataError
from preprocessing.files import sole_run
from preprocessing.options import (
    DECONTAMINATE_HELP,
    WEIGHTS_HELP,
    BuildConfig,
    ClassificationConfig,
    ExtractConfig,
    FilterConfig,
    InspectConfig,
    TokenizerConfig,
)
from preprocessing.sources.help import SOURCES_HELP
from preprocessing.workers import WorkersConfig, run_job

Config = TypeVar("Config")

STAGES: dict[str, tuple[str, tuple[type, ...]]] = {
    "run": (
        "Run the three stages; finished work of earlier runs is kept.",
        (ExtractConfig, FilterConfig, TokenizerConfig, BuildConfig),
    ),
    "extract": ("First stage: sources -> OUT/documents.", (ExtractConfig, FilterConfig)),
    "tokenizer": (
        "Second stage: a given vocabulary, or one trained on the documents -> OUT/tokenizer.",
        (TokenizerConfig,),
    ),
    "build": ("Third stage: samples -> OUT/samples<max_seq_length>[-<segments>].", (BuildConfig,)),
}

CLASSIFICATION_HELP = (
    "Write a small labelled task to try fine-tuning with: which library a paragraph of documentation is from. The "
    "paragraphs are those of the source embedded, without those that name one of the libraries. Train and dev have "
    "paragraphs of different files."
)

DOWNLOADS: dict[str, tuple[str, type]] = {
    "wikipedia": ("Download the articles of a Wikipedia, as XML, and their index.", WikipediaConfig),
    "url": ("Download files from URLs.", UrlConfig),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0, 1 for an error, 2 for wrong options."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    parsed = make_parser(program("preprocessing")).parse_args(arguments)
    command, options = parsed.command, parsed[parsed.command]
    if command == "inspect":
        return run_inspect(options)
    if command == "verify":
        return run_verify(options.directory)
    if command == "download":
        return run_download(options.what, options[options.what])
    if command == "classification":
        return run_classification(options)
    try:
        configs: dict[type, Any] = {kind: make_config(kind, options) for kind in (*STAGES[command][1], WorkersConfig)}
        check_options(options.out, configs)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    def job(executor: Executor) -> int:
        return exit_status(lambda: run_stages(options.out, configs, executor))

    return exit_status(lambda: check_vocabulary(configs)) or exit_status(lambda: run_job(configs[WorkersConfig], job))


@cache
def make_parser(name: str) -> Parser:
    """The parser, with an option for each field of the configurations, for a program of this name."""
    parser = Parser(prog=name, description="Turn raw text into samples for BERT pre-training.")
    commands = parser.add_subcommands(dest="command", metavar="COMMAND")
    add_download(commands)
    for name, (text, configs) in STAGES.items():
        stage = Parser(description=text)
        stage.add_argument("--out", type=Path, required=True, help="Output directory of all stages of a corpus.")
        if ExtractConfig in configs:
            stage.add_argument("--sources", type=str, nargs="+", required=True, help=SOURCES_HELP)
            stage.add_argument("--decontaminate", type=Path, nargs="*", default=[], help=DECONTAMINATE_HELP)
        if BuildConfig in configs:
            stage.add_argument("--weights", type=float, nargs="+", default=[], help=WEIGHTS_HELP)
        for config in (*configs, WorkersConfig):
            stage.add_class_arguments(config, skip={"sources", "decontaminate", "weights"})
        commands.add_subcommand(name, stage, help=text)
    show = Parser(description="Show figures, decoded samples and warnings for the output of the stages.")
    show.add_argument("directory", type=Path, help="OUT, or one of the directories in it.")
    for kind in (InspectConfig, WorkersConfig):
        show.add_class_arguments(kind)
    commands.add_subcommand("inspect", show, help="Show figures, samples and warnings.")
    check = Parser(description="Verify the checksums of all files.")
    check.add_argument("directory", type=Path, help="OUT, or one of the directories in it.")
    commands.add_subcommand("verify", check, help="Verify the checksums of all files.")
    examples = Parser(description=CLASSIFICATION_HELP)
    examples.add_argument("--out", type=Path, required=True, help="Directory for train.tsv and dev.tsv.")
    examples.add_class_arguments(ClassificationConfig)
    commands.add_subcommand("classification", examples, help="Write a small labelled task to try fine-tuning with.")
    return parser


def add_download(commands: Any) -> None:
    """Adds the command `download` and its own subcommands."""
    parser = Parser(description="Download raw text. An interrupted download resumes when restarted.")
    commands.add_subcommand("download", parser, help="Download raw text.")
    kinds = parser.add_subcommands(dest="what", metavar="SOURCE")
    for name, (text, config) in DOWNLOADS.items():
        kind = Parser(description=text)
        kind.add_argument("--out", type=Path, required=True, help="Directory for the files.")
        if config is UrlConfig:
            kind.add_argument("urls", type=str, nargs="+", help="URLs; the last part of each names the file.")
            kind.add_argument("--sha256", type=str, nargs="+", default=[], help="SHA-256 of each, in the same order.")
        for options in (config, ClientConfig):
            kind.add_class_arguments(options, skip={"urls", "sha256"})
        kinds.add_subcommand(name, kind, help=text)


def run_download(what: str, options: Namespace) -> int:
    """Runs one of `DOWNLOADS` and returns its exit status."""
    _, kind = DOWNLOADS[what]
    try:
        config: Any = make_config(kind, options)
        client = make_config(ClientConfig, options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from preprocessing.download import commands

    downloads: dict[str, Callable[[Path, Any, ClientConfig], None]]
    downloads = {"wikipedia": commands.download_wikipedia, "url": commands.download_urls}
    return exit_status(lambda: downloads[what](options.out, config, client))


def run_verify(directory: Path) -> int:
    """Runs the command `verify` and returns its exit status."""
    from preprocessing.stages.verify import verify

    return exit_status(lambda: print(verify(directory)))


def run_classification(options: Namespace) -> int:
    """Runs the command `classification` and returns its exit status."""
    try:
        config = make_config(ClassificationConfig, options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from preprocessing.sources.labelled import write_examples

    return exit_status(lambda: print(write_examples(options.out, config.train, config.dev)))


def run_inspect(options: Namespace) -> int:
    """Runs the command `inspect` and returns its exit status."""
    try:
        config, workers = make_config(InspectConfig, options), make_config(WorkersConfig, options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    def job(executor: Executor) -> int:
        from preprocessing.inspect.command import inspect

        return exit_status(lambda: print(inspect(options.directory, config, executor)))

    return exit_status(lambda: run_job(workers, job))


def make_config(kind: type[Config], options: Namespace) -> Config:
    """The configuration of this class with the values of the options."""
    return kind(**{field.name: options[field.name] for field in fields(kind)})  # type: ignore[arg-type]


def run_stages(out: Path, configs: dict[type, Any], executor: Executor) -> None:
    """Runs the stages that have a configuration, in order.

    Raises:
        DataError: the input, the options or the content of `out` is wrong, or another run works there.
    """
    from preprocessing.stage_directory import STAGE_NAME, check_vacant
    from preprocessing.stages.build import build
    from preprocessing.stages.extract import extract
    from preprocessing.stages.tokenizer import prepare_tokenizer

    if not any(out.glob(f"*/{STAGE_NAME}")):
        check_vacant(out)
    documents, tokenizer = out / "documents", out / "tokenizer"
    with sole_run(out):
        if ExtractConfig in configs:
            extract(documents, configs[ExtractConfig], configs[FilterConfig], executor)
        if TokenizerConfig in configs:
            prepare_tokenizer(tokenizer, configs[TokenizerConfig], documents)
        if BuildConfig in configs:
            build(out / configs[BuildConfig].directory_name, configs[BuildConfig], documents, tokenizer, executor)


def exit_status(command: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit status: 0 if it has none, 1 after printing an error, 130 if interrupted."""
    try:
        return command() or 0
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted: run the same command again to resume", file=sys.stderr)
        return 130  # As shells report SIGINT.
    except Exception:
        traceback.print_exc()
    return 1


if __name__ == "__main__":
    sys.exit(main())
