"""Conversion between checkpoints and Hugging Face models.

export CHECKPOINT OUT: write a checkpoint, or the newest one of a run, as a directory that `transformers` loads.
import MODEL OUT: write a pre-trained model as a checkpoint for a recipe's `init_from`.
fill MODEL "A [MASK]." ...: print the most likely words for each [MASK], by an exported model.
extend CHECKPOINT OUT --words FILE: write a checkpoint with further words in its vocabulary.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser

from pipeline.runtime import command

# The commands import torch and transformers when they run, because help texts need neither.


def convert(arguments: list[str]) -> None:
    """Parse the command line and run one of the commands.

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
        sub.add_function_arguments(function, as_positional=True, skip={"texts", "words"})
        if function is fill:
            sub.add_argument("texts", nargs="+", type=str, help="Sentences with one or more [MASK] each.")
        if function is extend:
            sub.add_argument("--words", type=Path, required=True, help="File with one word in each line.")
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


def import_model(
    model: Path,
    out: Path,
    family: str = "",
    layout: str = "",
    allow_pickle: bool = False,
    model_class: str = "",
    new_heads: bool = False,
    extra_rows: Literal["refuse", "trim", "keep"] = "refuse",
    seed: int = 12345,
    recipe: Path | None = None,
) -> None:
    """Write a pre-trained model as a checkpoint, and print the part of a recipe that starts from it.

    Args:
        model: directory of the model with its tokenizer (docs/continue.md lists the files), or its checkpoint there.
        out: directory of the checkpoint, which must not exist.
        family: family of the model; by default the one that model_type of its config.json names, else bert.
        layout: layout of the files: huggingface, tensorflow, nvidia, megatron or fairseq; by default the one that they
            show.
        allow_pickle: whether to read files in pickle's format, of which only tensors, numbers and texts are read.
        model_class: class of transformers whose parameters the checkpoint has, such as BertForMaskedLM; by default the
            one that differs least from the model. Parameters that the class does not have are left out.
        new_heads: whether to draw heads that the model lacks from the initial distribution of the family.
        extra_rows: what to do with rows of the word embeddings behind the last token of the tokenizer: refuse the
            model, trim them, or keep them with placeholders in the vocabulary.
        seed: seed of new heads.
        recipe: file to which a whole recipe is written that starts from the checkpoint; it must not exist.

    Raises:
        ValueError: the model is damaged or of another family, or `out` or `recipe` exists.
    """
    from pipeline.conversion.importing import ImportOptions, import_pretrained

    options = ImportOptions(family, layout, allow_pickle, model_class, new_heads, extra_rows, seed)
    with_recipe(out, recipe, lambda: import_pretrained(model, out, options))


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


def extend(checkpoint: Path, out: Path, words: Path, recipe: Path | None = None) -> None:
    """Write a checkpoint with further words in its vocabulary, and print the part of a recipe that starts from it.

    Args:
        checkpoint: directory of a checkpoint or of a run.
        out: directory of the new checkpoint, which must not exist.
        words: file with one word in each line.
        recipe: file to which a whole recipe is written that starts from the new checkpoint; it must not exist.

    Raises:
        ValueError: the checkpoint is damaged or has another kind of tokenizer than WordPiece, a word cannot be one
            token, or `out` or `recipe` exists.
    """
    from pipeline.conversion.extending import extend_vocabulary

    with_recipe(out, recipe, lambda: extend_vocabulary(checkpoint, out, words))


def with_recipe(out: Path, recipe: Path | None, write: Callable[[], list[str]]) -> None:
    """Write a checkpoint and print what was done, and write or print the recipe that starts from it.

    Raises:
        ValueError: as `write`, or `recipe` exists.
    """
    from pipeline.jobs import continuation

    if recipe is not None:
        continuation.require_new(recipe)
    print("\n".join(write()))
    if recipe is None:
        print(f"\n{continuation.beginning(out)}", end="")
    else:
        continuation.write_recipe(out, recipe)
        print(f"recipe -> {recipe}")


COMMANDS: dict[str, Callable[..., None]] = {"export": export, "import": import_model, "fill": fill, "extend": extend}


def main() -> None:
    """The installed command `bert-convert`."""
    command.main(convert)


if __name__ == "__main__":
    main()
