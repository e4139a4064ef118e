"""Conversion between checkpoints and Hugging Face models.

export CHECKPOINT OUT: write a checkpoint, or the newest one of a run, as a directory that `transformers` loads.
import MODEL OUT: write a pre-trained model as a checkpoint for a recipe's `init_from`.
fill MODEL "A [MASK]." ...: print the most likely words for each [MASK], by an exported model.
extend CHECKPOINT OUT --words FILE: write a checkpoint with further words in its vocabulary.
inspect CHECKPOINT: print what a checkpoint holds.
diff A B: print the differences between two checkpoints or models.
consolidate CHECKPOINT OUT: write the weights of a checkpoint as one file.
onnx MODEL OUT: write an exported or fine-tuned model as an ONNX graph.
"""

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentError, ArgumentParser

from pipeline.conversion.forms import FORMS, Dtype, FormName
from pipeline.runtime import command

# The commands import torch and transformers when they run, because help texts need neither.
FORM_HELP = f"""Class of the model, one of {", ".join(FORMS)}; hyphens are underscores. pretraining has all heads of the
checkpoint; masked_lm and encoder leave out what the class does not have; the others have a head for fine-tuning, which
is new and untrained."""
RENAMED = {"as": "form"}
"""Option whose name is a keyword of Python -> parameter of the function."""


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
    commands = parser.add_subcommands(metavar="COMMAND")
    for name, function in COMMANDS.items():
        summary = (function.__doc__ or "").partition("\n")[0]
        sub = ArgumentParser(description=summary, exit_on_error=False)
        sub.add_function_arguments(function, as_positional=True, skip={"texts", "words", "form"})
        if function is export:
            sub.add_argument("--as", type=form_name, default="pretraining", help=FORM_HELP)
        if function is fill:
            sub.add_argument("texts", nargs="+", type=str, help="Sentences with one or more [MASK] each.")
        if function is extend:
            sub.add_argument("--words", type=Path, required=True, help="File with one word in each line.")
        commands.add_subcommand(name, sub, help=summary)
    try:
        chosen = parser.parse_args(arguments)
    except ArgumentError as error:
        raise ArgumentError(None, " ".join(str(error).split())) from None
    values = {RENAMED.get(name, name): value for name, value in vars(chosen[chosen.subcommand]).items()}
    COMMANDS[chosen.subcommand](**values)


def form_name(text: str) -> str:
    """Return the name of a form of an export, which may be written with hyphens.

    Raises:
        ArgumentTypeError: there is no such form.
    """
    name = text.replace("-", "_")
    if name not in FORMS:
        raise ArgumentTypeError(f"{text}: must be one of {', '.join(FORMS)}")
    return name


def export(
    source: Path,
    out: Path,
    form: FormName = "pretraining",
    averaged: bool = False,
    dtype: Dtype = "float32",
    max_shard_size: str = "5GB",
    labels: int = 0,
    seed: int = 0,
    license: str = "",
    language: list[str] | None = None,
    datasets: list[str] | None = None,
    push: str = "",
    private: bool = False,
) -> None:
    """Write a checkpoint, or the newest one of a run, as a Hugging Face model, and compare it with `transformers`.

    Args:
        source: directory of a checkpoint, or of a run, which may be training.
        out: directory of the Hugging Face model, which must not exist.
        form: what the class of the model is for, `--as` on the command line.
        averaged: whether to write the averaged weights of a run with schedule.average_last.
        dtype: type of the weights.
        max_shard_size: largest file of weights, such as 500MB or 5GB; larger models have several and an index.
        labels: number of classes of sequence_classification and token_classification; 0: two classes.
        seed: seed of parameters that the checkpoint lacks.
        license: identifier of the licence in the model card, such as apache-2.0; none by default.
        language: codes of the languages of the text in the model card, such as '[en, de]'; by default that which the
            samples record.
        datasets: identifiers of data sets on the hub for the model card, such as '[wikimedia/wikipedia]'.
        push: repository on the Hugging Face hub, OWNER/NAME, to which the complete export is uploaded; it is created if
            it does not exist.
        private: whether a repository that is created is private.

    Raises:
        ValueError: the checkpoint is damaged or has no averaged weights, `out` exists, or `transformers` computes
            something else with the model; or the upload failed, and the export is complete.
    """
    from pipeline.conversion import publishing
    from pipeline.conversion.exported import Options, Publication
    from pipeline.conversion.exporting import export_checkpoint

    if push:
        publishing.require_name(push)
    elif private:
        raise ValueError("--private = true: has no effect without --push; give a repository, or leave it out")

    publication = Publication(license, language or [], datasets or [])
    options = Options(form, averaged, dtype, max_shard_size, labels, seed, publication)
    exported = export_checkpoint(source, out, options)
    print(f"{exported.source} -> {out}\n{exported.text}")
    if push:
        print(f"{out} -> {publishing.push(out, push, private)}")


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


def inspect(source: Path) -> None:
    """Print what a checkpoint holds, after its checksums have been verified.

    Args:
        source: directory of a checkpoint or of a run.

    Raises:
        ValueError: the checkpoint is damaged.
    """
    from pipeline.conversion.inspection import inspect_checkpoint

    for line in inspect_checkpoint(source):
        print(line)


def diff(first: Path, second: Path) -> None:
    """Print the differences between two checkpoints or models; the exit status is 0 if there are none, else 1.

    Args:
        first: directory of a checkpoint, of a run or of a model, or a consolidated file.
        second: the same, to be compared with it.

    Raises:
        SystemExit: they differ (status 1), or cannot be compared (status 2, as of the command diff).
    """
    from pipeline.conversion.difference import difference_between, lines

    try:
        found = difference_between(first, second)
    except command.USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    for line in lines(found):
        print(line)
    if not found.is_empty:
        raise SystemExit(1)


def consolidate(source: Path, out: Path) -> None:
    """Write the weights of a checkpoint as one safetensors file, in fp32 and without optimizer state.

    Args:
        source: directory of a checkpoint or of a run.
        out: file, which must not exist and must end in .safetensors.

    Raises:
        ValueError: the checkpoint is damaged, or `out` exists.
    """
    from pipeline.conversion import weights

    print(f"{weights.consolidate(source, out)} -> {out}")


def onnx(model: Path, out: Path) -> None:
    """Write an exported or fine-tuned model as an ONNX graph with dynamic batch and length, compared by ONNX Runtime.

    Args:
        model: directory of the model.
        out: directory of the graph with its configuration and tokenizer, which must not exist.

    Raises:
        ValueError: a package is not installed, `out` exists, or ONNX Runtime computes something else.
    """
    from pipeline.conversion.onnx_export import GRAPH, export_onnx

    differences = export_onnx(model, out)
    same = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    print(f"{model} -> {out / GRAPH}\nlargest difference in ONNX Runtime: {same}")


COMMANDS: dict[str, Callable[..., None]] = {
    "export": export,
    "import": import_model,
    "fill": fill,
    "extend": extend,
    "inspect": inspect,
    "diff": diff,
    "consolidate": consolidate,
    "onnx": onnx,
}


def main() -> None:
    """The installed command `bert-convert`."""
    command.main(convert)


if __name__ == "__main__":
    main()
