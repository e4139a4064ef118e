"""Conversion between checkpoints and Hugging Face models.

export CHECKPOINT OUT: write a checkpoint, or the newest one of a run, as a directory that `transformers` loads.
import MODEL OUT: write such a directory as a checkpoint for a recipe's `init_from`.
fill MODEL "A [MASK]." ...: print the most likely words for each [MASK], by an exported model.
"""

from collections.abc import Callable
from pathlib import Path

from jsonargparse import ArgumentParser

from pipeline.runtime import command

# The commands import torch and transformers when they run, because help texts need neither.


def convert(arguments: list[str]) -> None:
    """Parse the command line and run one of the three commands.

    Raises:
        jsonargparse.ArgumentError: an unknown command or option, or an invalid value.
        ValueError: as the command.
    """
    parser = ArgumentParser(
        prog=command.program("pipeline.convert"),
        description="Convert between checkpoints and Hugging Face models.",
        exit_on_error=False,
    )
    commands = parser.add_subcommands()
    for name, function in COMMANDS.items():
        summary = (function.__doc__ or "").partition("\n")[0]
        sub = ArgumentParser(description=summary, exit_on_error=False)
        sub.add_function_arguments(function, as_positional=True, skip={"texts"})
        if function is fill:
            sub.add_argument("texts", nargs="+", type=str, help="Sentences with one or more [MASK] each.")
        commands.add_subcommand(name, sub, help=summary)
    chosen = parser.parse_args(arguments)
    COMMANDS[chosen.subcommand](**vars(chosen[chosen.subcommand]))


def export(source: Path, out: Path, averaged: bool = False) -> None:
    """Write a checkpoint, or the newest one of a run, as a Hugging Face model.

    Args:
        source: directory of a checkpoint or of a run.
        out: directory of the Hugging Face model, which must not exist.
        averaged: whether to write the averaged weights of a run with schedule.average_last.

    Raises:
        ValueError: the checkpoint is damaged or has no averaged weights, or `out` exists.
    """
    from pipeline.conversion.exporting import export_checkpoint

    print(f"{export_checkpoint(source, out, averaged)} -> {out}")


def import_model(model: Path, out: Path, family: str = "", allow_pickle: bool = False) -> None:
    """Write a Hugging Face model as a checkpoint for a recipe's `init_from`.

    Args:
        model: directory that transformers saved, with pre-training heads and tokenizer.
        out: directory of the checkpoint, which must not exist.
        family: family of the model; by default the one that model_type of its config.json names, else bert.
        allow_pickle: whether to read pytorch_model.bin, as tensors only, if there is no safetensors file.

    Raises:
        ValueError: the model is not of this family, or `out` exists.
    """
    from pipeline.conversion.importing import import_pretrained

    model_class = import_pretrained(model, out, family, allow_pickle)
    print(f"{model} ({model_class}) -> {out}")


def fill(model: Path, texts: list[str], top: int = 5) -> None:
    """Print the most likely words for each [MASK] of the given sentences.

    Args:
        model: directory of an exported model.
        texts: sentences with one or more [MASK] each.
        top: number of words to print for each.
    """
    from pipeline.conversion import huggingface

    for text in texts:
        print(text)
        for words in huggingface.fill_masks(model, text, top):
            print("    " + "  ".join(f"{word} {probability:.3f}" for word, probability in words))


COMMANDS: dict[str, Callable[..., None]] = {"export": export, "import": import_model, "fill": fill}


def main() -> None:
    """The installed command `bert-convert`."""
    command.main(convert)


if __name__ == "__main__":
    main()
