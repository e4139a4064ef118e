"""Between checkpoints and Hugging Face models.

export CHECKPOINT OUT: a checkpoint, or a run's newest, becomes a directory that `transformers` loads.
import MODEL OUT: such a directory becomes a checkpoint that a recipe's `init_from` takes.
fill MODEL "A [MASK]." ...: the most likely words for each [MASK], from an exported model.
"""

import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from pipeline import command
from pipeline.families import get_family
from pipeline.sections import EncoderConfig
from preprocessing.files import read_json

# torch and transformers are imported where they are needed: a help text and a wrong option need neither.
if TYPE_CHECKING:
    import torch

    from pipeline.huggingface import Pretrained


def convert(arguments: list[str]) -> None:
    """Parse and run one of the three."""
    parser = ArgumentParser(
        prog="convert", description="Between checkpoints and Hugging Face models.", exit_on_error=False
    )
    commands = parser.add_subcommands()
    for name, function in COMMANDS.items():
        sub = ArgumentParser(description=function.__doc__, exit_on_error=False)
        sub.add_function_arguments(function, as_positional=True, skip={"texts"})
        if function is fill:
            sub.add_argument("texts", nargs="+", type=str, help="Sentences with one or more [MASK] each.")
        commands.add_subcommand(name, sub)
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
    from pipeline import checkpoint, huggingface

    directory = checkpoint.resolve(source)
    checkpoint.verify(directory)
    require_listed(directory)
    state = checkpoint.read_state(directory)
    family = get_family(state["family"])
    weights = dict(checkpoint.Reader(directory).tensors())
    out.parent.mkdir(parents=True, exist_ok=True)
    config = family.config_class(**state["model"])
    huggingface.export(family, weights, config, directory / "tokenizer", out, model_card(out.name, state))
    print(f"{directory} -> {out}")


def require_listed(directory: Path) -> None:
    """Raises ValueError where a checkpoint's tokenizer holds a file that its manifest does not vouch for."""
    listed = read_json(directory / "manifest.json")["files"]
    for path in sorted((directory / "tokenizer").iterdir()):
        if str(path.relative_to(directory)) not in listed:
            raise ValueError(f"{path}: not in the checkpoint's manifest.json, so it was added later; remove it")


def import_model(model: Path, out: Path, family: str = "bert", allow_pickle: bool = False) -> None:
    """Write a Hugging Face model as a checkpoint that a recipe's `init_from` takes.

    Args:
        model: directory that transformers saved, with pre-training heads and tokenizer.
        out: new checkpoint directory.
        family: which family to read it as.
        allow_pickle: read pytorch_model.bin, as tensors only, where there is no safetensors file.

    Raises:
        ValueError: the model is not of this family, or `out` exists.
    """
    from pipeline import huggingface, model_files

    if out.exists():
        raise ValueError(f"{out} exists; choose another directory or remove it")
    pretrained = huggingface.load(get_family(family), model, allow_pickle)
    model_files.tokenizer_files(model)
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        (temporary / ".tokenizer").mkdir(parents=True)
        huggingface.copy_tokenizer(model, temporary / ".tokenizer", pretrained.config.max_position_embeddings)
        write_imported(pretrained, temporary, out, family)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    print(f"{model} -> {out}")


def write_imported(pretrained: "Pretrained", temporary: Path, out: Path, family: str) -> None:
    """Publish an imported model as the checkpoint `out`."""
    from safetensors.torch import save_file

    from pipeline import checkpoint

    parameters = unique(pretrained.state_dict)
    path = temporary / "rank-00000.safetensors"
    save_file({f"weight|{name}|0": value.reshape(-1).contiguous() for name, value in parameters.items()}, path)
    state = imported_state(family, pretrained.config, pretrained.vocab_size, parameters)
    checkpoint.publish(temporary, out, state, {path.name: checkpoint.describe(path)}, temporary / ".tokenizer")


def imported_state(
    family: str, config: EncoderConfig, vocab_size: int, parameters: dict[str, "torch.Tensor"]
) -> dict[str, Any]:
    """state.json of a checkpoint that no run of ours wrote."""
    return {
        "step": 0,
        "consumed_samples": 0,
        "optimizer_step": 0,
        "family": family,
        "model": asdict(config),
        "vocab_size": vocab_size,
        "tensors": {name: list(value.shape) for name, value in parameters.items()},
        "metrics": {},
    }


def unique(state_dict: dict[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """The parameters once each: tied ones under their first name."""
    seen: set[int] = set()
    kept = {}
    for name, value in state_dict.items():
        if value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            kept[name] = value
    return kept


def fill(model: Path, texts: list[str], top: int = 5) -> None:
    """Print the most likely words for each [MASK] of some sentences.

    Args:
        model: directory of an exported model.
        texts: sentences with one or more [MASK] each.
        top: how many words to show for each.
    """
    from pipeline import huggingface

    for text in texts:
        print(text)
        for words in huggingface.fill_masks(model, text, top):
            print("    " + "  ".join(f"{word} {probability:.3f}" for word, probability in words))


def model_card(name: str, state: dict[str, Any]) -> str:
    """README.md of an exported model: what it is, how it was trained, its numbers, how to use it."""
    metrics = state["metrics"]
    rows = "\n".join(
        f"| {key.replace('_', ' ')} | {metrics.get('heldout', {}).get(key, float('nan')):.4f} |"
        for key in ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")
        if key in metrics.get("heldout", {})
    )
    optimizer = OPTIMIZERS.get(state.get("recipe", {}).get("optimizer", {}).get("name"), "imported weights")
    return f"""---
library_name: transformers
tags: [{state["family"]}, fill-mask]
---
# {name}

{state["family"]} with {json.dumps(state["model"])} and a vocabulary of {state["vocab_size"]:,} words, trained for
{state["step"]:,} steps on {state["consumed_samples"]:,} samples ({state.get("precision", "fp32")}, {optimizer}).

| held out | |
|---|---|
{rows or "| (not evaluated) | |"}

```python
from transformers import AutoTokenizer, BertForMaskedLM

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = BertForMaskedLM.from_pretrained("{name}")
```

The recipe that trained it:

```json
{json.dumps(state.get("recipe", {}), indent=2)}
```
"""


OPTIMIZERS = {"lamb": "LAMB", "adamw": "AdamW"}
"""Names as people write them, by the recipe's."""
COMMANDS: dict[str, Callable[..., None]] = {"export": export, "import": import_model, "fill": fill}

if __name__ == "__main__":
    command.main(convert)
