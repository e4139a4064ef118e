"""Checkpoints of BERT from NVIDIA's DeepLearningExamples (PyTorch/LanguageModeling/BERT).

    DIRECTORY/ckpt_8601.pt         a pickle with the parameters under `model`, beside those of the optimizer
              bert_config.json     as google-research wrote it
              vocab.txt

Layers with a fused activation are called `dense_act`. The vocabulary is padded to a multiple of 8: the embeddings have
30,528 rows, although the configuration says 30,522. The activation is the exact GELU.
"""

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.checkpoints import model_files
from pipeline.conversion.layouts import pickled
from pipeline.conversion.layouts.base import Source

CONFIGS = ("bert_config.json", model_files.CONFIG)
PADDING = 8
WORDS = "bert.embeddings.word_embeddings.weight"


def matches(path: Path) -> bool:
    """Return whether a path is a directory of this layout, or a checkpoint in one."""
    directory = path if path.is_dir() else path.parent
    return (directory / CONFIGS[0]).exists() and (path.is_file() or any(path.glob("*.pt")))


def read(path: Path, allow_pickle: bool) -> Source:
    """Read a checkpoint.

    Raises:
        ValueError: a file is missing or damaged, or the pickle is not allowed.
    """
    file = pickled.file_of(path, "*.pt")
    directory = path if path.is_dir() else path.parent
    config = next((found for name in CONFIGS if (found := model_files.find(directory, name))), None)
    if file is None or config is None:
        raise ValueError(f"{path}: needs a .pt file, and {CONFIGS[0]} beside it; copy both into one directory")
    content, fields = pickled.load(file, allow_pickle), model_files.read_json(config)
    state = content["model"] if isinstance(content.get("model"), dict) else content
    tensors = {present(name): value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{file}: holds no tensors under 'model'; name another file")
    return Source(
        path=file,
        fields={"model_type": "bert"} | fields | padded(fields, tensors),
        outlines={name: value.to("meta") for name, value in tensors.items()},
        values=partial(model_files.finite, tensors.items()),
        tokenizer=directory,
        config=config.name,
        left_out=tuple(str(name) for name in content if state is not content and name != "model"),
    )


def present(name: str) -> str:
    """Return the name of a parameter in `transformers`."""
    return name.removeprefix("module.").replace(".dense_act.", ".dense.")


def padded(fields: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, int]:
    """Return the number of rows as the size of the vocabulary, if padding explains the difference."""
    size, rows = fields.get("vocab_size"), len(tensors.get(WORDS, ()))
    is_padding = isinstance(size, int) and size < rows == -(-size // PADDING) * PADDING
    return {"vocab_size": rows} if is_padding else {}
