"""Between checkpoints and Hugging Face models.

export CHECKPOINT OUT: a checkpoint, or a run's newest, becomes a directory that `transformers` loads.
import MODEL OUT: such a directory becomes a checkpoint that a recipe's `init_from` takes.
fill MODEL "A [MASK]." ...: the most likely words for each [MASK], from an exported model.
"""

from collections.abc import Callable
from pathlib import Path

from jsonargparse import ArgumentParser

from pipeline.runtime import command

# What converts brings torch and transformers, and is imported when a command runs: a help text needs neither.


def convert(arguments: list[str]) -> None:
    """Parse and run one of the three."""
    parser = ArgumentParser(
        prog=command.program("pipeline.convert"),
        description="Between checkpoints and Hugging Face models.",
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


def export(source: Path, out: Path) -> None:
    """Write a checkpoint, or the newest one of a run, as a Hugging Face model.

    Args:
        source: checkpoint directory or run directory.
        out: new directory of the Hugging Face model.

    Raises:
        ValueError: the checkpoint is damaged, or `out` exists.
    """
    from pipeline.conversion.exporting import export_checkpoint

    print(f"{export_checkpoint(source, out)} -> {out}")


def import_model(model: Path, out: Path, family: str = "", allow_pickle: bool = False) -> None:
    """Write a Hugging Face model as a checkpoint that a recipe's `init_from` takes.

    Args:
        model: directory that transformers saved, with pre-training heads and tokenizer.
        out: new checkpoint directory.
        family: which family to read it as; by default the one that model_type of its config.json names, else bert.
        allow_pickle: read pytorch_model.bin, as tensors only, where there is no safetensors file.

    Raises:
        ValueError: the model is not of this family, or `out` exists.
    """
    from pipeline.conversion.importing import import_pretrained

    import_pretrained(model, out, family, allow_pickle)
    print(f"{model} -> {out}")


def fill(model: Path, texts: list[str], top: int = 5) -> None:
    """Print the most likely words for each [MASK] of some sentences.

    Args:
        model: directory of an exported model.
        texts: sentences with one or more [MASK] each.
        top: how many words to show for each.
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
