"""Import of a pre-trained model as a checkpoint for a recipe's `init_from`."""

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from torch import Tensor

from pipeline.checkpoints import checkpoint, model_files
from pipeline.conversion import huggingface, vocabulary
from pipeline.conversion.layouts import registry
from pipeline.conversion.layouts.base import Source
from pipeline.conversion.pretrained import Pretrained, read_parts, read_pretrained, with_rows
from pipeline.families import family_names, get_family
from pipeline.families.base import FAMILY_FIELD, Family
from pipeline.model.config import EncoderConfig

ExtraRows = Literal["refuse", "trim", "keep"]


@dataclass(frozen=True)
class ImportOptions:
    """Choices of an import."""

    family: str = ""
    """Family of the model; empty: the one that its configuration names."""
    layout: str = ""
    """Layout of the files; empty: the one that they show."""
    allow_pickle: bool = False
    """Whether files in pickle's format are read, as tensors only."""
    model_class: str = ""
    """Class in `transformers` whose parameters the checkpoint has; empty: the one closest to the model."""
    new_heads: bool = False
    """Whether heads that the model lacks are drawn anew."""
    extra_rows: ExtraRows = "refuse"
    """What happens to rows of the word embeddings behind the last token of the tokenizer."""
    seed: int = 12345
    """Seed of new heads."""


def import_pretrained(model: Path, out: Path, options: ImportOptions) -> list[str]:
    """Write a pre-trained model as a checkpoint.

    Args:
        model: directory or file of the model.
        out: directory of the checkpoint, which must not exist.
        options: choices of the import.

    Returns:
        Lines about what was read: the class of `transformers`, what was drawn anew and what was left out.

    Raises:
        ValueError: the model is not of this family or damaged, or `out` exists.
    """
    with new_directory(out) as temporary, TemporaryDirectory(prefix="bert-tokenizer-") as directory:
        tokenizer = Path(directory)
        source = registry.read(model, options.layout, options.allow_pickle)
        family = get_family(options.family or _family(source.path / source.config, source.fields))
        pretrained = read_model(family, source, options)
        longest = huggingface.longest_sequence(family, pretrained.config)
        model_type = huggingface.default_fields(family)["model_type"]  # of its class, which may be another family's
        notes = vocabulary.adopt(source, tokenizer, model_type, longest)
        pretrained, rows = fit_rows(source.path, pretrained, tokenizer, options.extra_rows)
        write_imported(pretrained, tokenizer, temporary, out)
    return [f"{model} ({pretrained.form.export.model_class}) -> {out}", *said(source, pretrained), *notes, *rows]


def read_model(family: Family[Any], source: Source, options: ImportOptions = ImportOptions()) -> Pretrained:
    """Read a model, with all its parts if its family has several.

    Args:
        family: family of the model.
        source: the model, or the part that is in the directory itself.
        options: choices of the import.

    Raises:
        ValueError: as `read_pretrained` and `read_parts`, or the directory of a part is missing.
    """
    family = _form_of_directory(family, source.path)
    if not family.parts:
        return read_pretrained(family, source, options.model_class, options.new_heads, options.seed)
    if options.model_class:
        raise ValueError(f"--model_class {options.model_class}: the {family.name} family has one form; leave it out")
    places = [source.path / part.directory for part in family.parts]
    for part, place in zip(family.parts, places, strict=True):
        if not place.is_dir():
            raise ValueError(
                f"{place}: no such directory; training of the {family.name} family goes on from a "
                f"{family.export.model_class} with a {part.family.export.model_class} in a directory of this name "
                "within it"
            )
    others = [registry.read(place, options.layout, options.allow_pickle) for place in places[1:]]
    return read_parts(family, [source, *others], options.new_heads, options.seed)


def _form_of_directory(family: Family[Any], directory: Path) -> Family[Any]:
    """Return the variant of a family that is divided into parts, if the directory has all of them; else the family."""
    divided = [form for form in family.variants if form.parts]
    found = (form for form in divided if all((directory / part.directory).is_dir() for part in form.parts))
    return next(found, family)


def said(source: Source, model: Pretrained) -> list[str]:
    """Return lines about what was drawn anew or left out of a model."""
    left_out = [*source.left_out, *model.left_out]
    return [
        *source.notes,
        *([f"drawn anew: {', '.join(model.new)}"] if model.new else []),
        *([f"left out: {', '.join(left_out)}"] if left_out else []),
    ]


def fit_rows(
    place: Path, model: Pretrained, tokenizer: Path, extra_rows: ExtraRows
) -> tuple[Pretrained, tuple[str, ...]]:
    """Make the word embeddings and the tokenizer equally long.

    Args:
        place: directory of the model, for messages.
        model: the model.
        tokenizer: directory of its tokenizer, which receives placeholders if rows are kept.
        extra_rows: what happens to rows behind the last token.

    Returns:
        The model, and lines about what was changed.

    Raises:
        ValueError: rows and tokens do not fit, and `extra_rows` does not say what to do.
    """
    tokens, extra = vocabulary.size(tokenizer), model.vocab_size - vocabulary.size(tokenizer)
    name = f"{place}: {model.form.word_embeddings} has {model.vocab_size:,} rows, but the tokenizer {tokens:,} tokens"
    if extra < 0:
        raise ValueError(f"{name}; take the tokenizer of this model")
    if extra and extra_rows == "refuse":
        raise ValueError(
            f"{name}; if this is the model's tokenizer, pass --extra_rows trim to remove the rows behind its last "
            "token, or --extra_rows keep to give each a placeholder in the vocabulary"
        )
    if extra and extra_rows == "trim":
        return with_rows(model, tokens), (f"left out: {extra} rows of the word embeddings behind token {tokens - 1:,}",)
    if extra:
        vocabulary.append(tokenizer, vocabulary.placeholders(tokenizer, extra))
        return model, (f"kept: {extra} rows without a token, which have placeholders in the vocabulary now",)
    return model, ()


def family_of(model: Path) -> str:
    """Return the family that a directory's `config.json` names: in `family`, which exports of a family have whose class
    in `transformers` is that of another one, or else in `model_type`, which older directories of BERT lack.

    Raises:
        ValueError: there is no such configuration, or its model is of no family here.
    """
    return _family(model / model_files.CONFIG, model_files.read_config(model))


def _family(path: Path, fields: Mapping[str, Any]) -> str:
    field = FAMILY_FIELD if FAMILY_FIELD in fields else "model_type"
    types = {name: get_family(name).model_type or name for name in family_names()}
    known = {name if field == FAMILY_FIELD else kind: name for name, kind in types.items()}
    if (value := str(fields.get(field, "bert"))) not in known:
        raise ValueError(f"{path}: {field} = {value!r}: must be one of {', '.join(known)}")
    return known[value]


@contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `out`, which is removed unless it was renamed.

    Raises:
        ValueError: `out` exists.
    """
    if out.exists():
        raise ValueError(f"{out} exists; choose another directory or remove it")
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_imported(pretrained: Pretrained, tokenizer: Path, temporary: Path, out: Path) -> None:
    """Publish a model as the checkpoint `out` of step 0.

    Args:
        pretrained: the model.
        tokenizer: directory of its tokenizer.
        temporary: empty directory beside `out`, which is renamed.
        out: directory of the checkpoint.
    """
    parameters = unique(pretrained.state_dict)
    path = temporary / "rank-00000.safetensors"
    weights = {f"weight|{name}|0": value.reshape(-1).contiguous() for name, value in parameters.items()}
    entry = checkpoint.write_tensors(path, weights)
    state = imported_state(pretrained.form.name, pretrained.config, pretrained.vocab_size, parameters)
    checkpoint.publish(temporary, out, state, {path.name: entry}, tokenizer)


def imported_state(
    family: str, config: EncoderConfig, vocab_size: int, parameters: dict[str, Tensor]
) -> dict[str, Any]:
    """Return the content of state.json for an imported model, which has step 0 and no recipe."""
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


def unique(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return each parameter once: tied ones under the first of their names."""
    seen: set[int] = set()
    kept = {}
    for name, value in state_dict.items():
        if value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            kept[name] = value
    return kept
