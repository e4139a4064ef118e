"""Directories that `transformers` saved, and directories of sentence-transformers, which hold one of them.

A sentence-transformers directory lists its modules in `modules.json`; the first one is the model, at the top of the
directory or in a folder such as `0_Transformer`. Older ones have the folder alone.
"""

from functools import partial
from pathlib import Path

from pipeline.checkpoints import model_files
from pipeline.conversion.layouts.base import Source

MODULES = "modules.json"
FOLDERS = ("0_Transformer", "0_BERT", "0_RoBERTa")
"""Folders of the model in sentence-transformers directories without `modules.json`."""


def matches(path: Path) -> bool:
    """Return whether a path is a directory of this layout."""
    return any((path / name).exists() for name in (model_files.CONFIG, MODULES, *FOLDERS))


def read(path: Path, allow_pickle: bool) -> Source:
    """Find the files of a model.

    Raises:
        ValueError: the directory has no configuration or no weights, or a file of it is damaged or not allowed.
    """
    directory, left_out = model_directory(path)
    fields, files = model_files.read_config(directory), model_files.weight_files(directory, allow_pickle)
    return Source(
        path=directory,
        fields=fields,
        outlines=model_files.outlines(files),
        values=partial(model_files.values, files),
        tokenizer=directory,
        left_out=left_out,
    )


def model_directory(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the directory of the model itself, and the other modules of a sentence-transformers directory.

    Raises:
        ValueError: `modules.json` is damaged, names no transformer, or a folder that is not there.
    """
    listed = model_files.find(path, MODULES) if path.is_dir() else None
    if listed is None:
        folder = next((name for name in FOLDERS if (path / name).is_dir()), "")
        return path if (path / model_files.CONFIG).exists() else model_files.subdirectory(path, folder), ()
    modules = model_files.read_list(listed)
    if not all(isinstance(module, dict) and {"type", "path"} <= module.keys() for module in modules):
        raise ValueError(f"{listed}: must be a list of modules with type and path; get the file from its source again")
    names = [str(module["type"]).rpartition(".")[2] for module in modules]
    if "Transformer" not in names:
        raise ValueError(f"{listed}: lists no module Transformer, only {', '.join(names)}; use another model")
    chosen = names.index("Transformer")
    others = tuple(f"module {name}" for number, name in enumerate(names) if number != chosen)
    return model_files.subdirectory(path, str(modules[chosen]["path"])), others
