"""Checkpoints of BERT from google-research/bert, which TensorFlow wrote.

    DIRECTORY/bert_model.ckpt.index, bert_model.ckpt.data-00000-of-00001
              bert_config.json
              vocab.txt

Kernels of dense layers are transposed. The activation "gelu" is taken as the exact one, with which the published models
were trained and as which `transformers` publishes them; later versions of modeling.py compute its tanh approximation.
"""

import re
from functools import partial
from pathlib import Path

from torch import Tensor

from pipeline.checkpoints import model_files
from pipeline.conversion.layouts import pickled, tensor_bundle
from pipeline.conversion.layouts.base import Source, Tensors
from pipeline.conversion.layouts.tensor_bundle import Entry

CONFIG, PATTERN = "bert_config.json", "*.index"
OPTIMIZER = ("adam_m", "adam_v", "lamb_m", "lamb_v", "global_step")
"""Last parts of the names of what belongs to the optimizer."""
LAST = {"kernel": "weight", "gamma": "weight", "beta": "bias", "output_weights": "weight", "output_bias": "bias"}
"""Last parts of names, here and in `transformers`."""


def matches(path: Path) -> bool:
    """Return whether a path is a directory of this layout, or the index of a checkpoint."""
    return path.suffix == ".index" or (path.is_dir() and any(path.glob(PATTERN)))


def read(path: Path, allow_pickle: bool) -> Source:
    """Read the index of a checkpoint; nothing of this layout is a pickle.

    Raises:
        ValueError: a file is missing or damaged.
    """
    index, directory = pickled.file_of(path, PATTERN), path if path.is_dir() else path.parent
    config = model_files.find(directory, CONFIG)
    if index is None or config is None:
        raise ValueError(f"{path}: needs an .index file, and {CONFIG} beside it; copy both into one directory")
    if model_files.find(directory, index.name) is None:
        raise ValueError(f"{index}: missing; copy it there")
    found = tensor_bundle.entries(index)
    kept = {name: entry for name, entry in found.items() if name.rpartition("/")[2] not in OPTIMIZER}
    outlines = {present(name): turned(name, tensor_bundle.outline(name, entry)) for name, entry in kept.items()}
    return Source(
        path=index,
        fields={"model_type": "bert"} | model_files.read_json(config),
        outlines=outlines,
        values=partial(_values, kept),
        tokenizer=directory,
        config=CONFIG,
        left_out=("state of the optimizer",) if len(kept) < len(found) else (),
    )


def _values(kept: dict[str, Entry]) -> Tensors:
    return model_files.finite(
        (present(name), turned(name, tensor_bundle.tensor(name, entry)).contiguous()) for name, entry in kept.items()
    )


def present(name: str) -> str:
    """Return the name of a parameter in `transformers`."""
    *modules, last = re.sub(r"/layer_(\d+)/", r"/layer/\1/", name).split("/")
    if not modules:  # the classifier of a fine-tuned model
        return f"classifier.{LAST.get(last, last)}"
    if last.endswith("_embeddings"):
        return ".".join([*modules, last, "weight"])
    return ".".join([*modules, LAST.get(last, last)])


def turned(name: str, value: Tensor) -> Tensor:
    """Return a parameter with the order of dimensions of `transformers`."""
    return value.T if name.endswith("/kernel") else value
