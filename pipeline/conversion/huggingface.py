"""Export to Hugging Face `transformers`.

An export is a directory that `transformers` loads without code of this project: `config.json`, `model.safetensors`, the
tokenizer's files and `README.md`, the model card. Parameter names and configuration fields are each family's
(`families/<name>.py`); this file writes directories, and beside `classes.py` no other file of `pipeline/` imports
`transformers`.
It reads through `model_files`, so that no file of a model directory is executed.
"""

import json
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from pipeline.checkpoints import model_files
from pipeline.conversion.classes import assemble, classes_of, save, unread_of
from pipeline.conversion.exported import Options
from pipeline.conversion.names import to_huggingface
from pipeline.conversion.parts import ModelPart, divide
from pipeline.families.base import Family
from pipeline.model.encoder import EncoderConfig
from preprocessing.files import flush

MOST_SHOWN = 300
"""Characters of an error of `transformers` that messages show."""
# No progress bars and load reports for single files; missing and unexpected tensors are checked here.
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


def export(
    family: Family[Any],
    state_dict: Mapping[str, Tensor],
    config: EncoderConfig,
    tokenizer_dir: Path,
    out_dir: Path,
    card: str,
) -> None:
    """Writes a model as a Hugging Face directory, which appears whole or not at all.

    `AutoModel`, `AutoTokenizer`, the family's pre-training class and the classes for its tasks load it. The tokenizer
    cuts texts at the model's longest sequence, whatever `tokenizer_dir` says. A further part of a model, such as
    ELECTRA's generator, is a directory of the same kind within it.

    Args:
        family: the model's family.
        state_dict: all of the model's parameters, on any device; written in their own type.
        config: the model's configuration.
        tokenizer_dir: holds the tokenizer as `transformers` loads it.
        out_dir: must not exist yet; its parent must.
        card: text of the model card in Markdown.

    Raises:
        ValueError: `out_dir` exists, the tokenizer is of another size than the vocabulary, or the parameters are not
            those of the family and configuration.
    """
    family = family.of(config)
    require_absent(out_dir)
    vocab_size = _vocab_size(family, state_dict)
    padding = tokenizer_of(tokenizer_dir, vocab_size).pad_token_id
    with atomic_directory(out_dir) as temporary:
        for part in divide(family, config, state_dict):
            directory, fields = temporary / part.directory, fields_of(part, vocab_size, padding)
            named = to_huggingface(part.family, part.state_dict)
            exported = part.family.export
            unread = unread_of(exported, named)
            unread |= {family.carried[name]: value for name, value in part.carried.items()}
            of_class = {name: value for name, value in named.items() if name not in exported.unread}
            save(assemble(exported.model_class, fields, of_class), unread, directory, Options.max_shard_size)
            copy_tokenizer(tokenizer_dir, directory, longest_sequence(family, config))
        (temporary / "README.md").write_text(card, encoding="utf-8")


def require_absent(out_dir: Path) -> None:
    """Raises ValueError if the directory of an export exists."""
    if out_dir.exists():
        raise ValueError(
            f"{out_dir} exists already, and an export never overwrites: remove it or name another directory"
        )


def tokenizer_of(directory: Path, vocab_size: int) -> transformers.PreTrainedTokenizerBase:
    """Loads the tokenizer of a model.

    Args:
        directory: directory of the tokenizer.
        vocab_size: number of tokens of the model.

    Raises:
        ValueError: the tokenizer has another number of tokens.
    """
    tokenizer = load_tokenizer(directory)
    if len(tokenizer) != vocab_size:
        raise ValueError(
            f"{directory} has {len(tokenizer)} tokens but the model's vocabulary has {vocab_size}: "
            "export the model with the tokenizer that its data was made with"
        )
    return tokenizer


def fields_of(part: ModelPart, vocab_size: int, pad_token_id: int) -> dict[str, Any]:
    """Returns the arguments of the configuration in `transformers` of a model or of a part of one."""
    return part.family.export.config_to(part.config, vocab_size) | {"pad_token_id": pad_token_id}


def longest_sequence(family: Family[Any], config: EncoderConfig) -> int:
    """Return the number of tokens of the longest sequence that a model can read."""
    return config.max_position_embeddings - family.template.first_position


def copy_tokenizer(source: Path, target: Path, max_length: int | None = None) -> None:
    """Copies the files of a tokenizer, after checking them, and no other file of its directory.

    Args:
        source: directory of the tokenizer.
        target: directory of the copy.
        max_length: longest sequence of the model in tokens, written to the copy; None: the value of the source.
    """
    for path in model_files.tokenizer_files(source):
        shutil.copyfile(path, target / path.name)
    if max_length is not None:
        path = target / model_files.TOKENIZER_CONFIG
        settings = model_files.read_json(path) if path.exists() else {}
        text = json.dumps(settings | {"model_max_length": max_length}, indent=2, sort_keys=True, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")


def default_fields(family: Family[Any]) -> dict[str, Any]:
    """Return the fields of a `config.json` with the defaults of the family's class."""
    fields: dict[str, Any] = getattr(transformers, family.export.model_class).config_class().to_dict()
    return fields


def fill_masks(directory: Path, text: str, top: int = 5) -> list[list[tuple[str, float]]]:
    """Returns the most likely tokens at each mask token of a text.

    Args:
        directory: an exported model, or any masked language model that `transformers` saved.
        text: text that contains the tokenizer's mask token, such as [MASK].
        top: number of tokens to return for each.

    Returns:
        For each mask token, from left to right, tokens with their probabilities, the most likely one first.

    Raises:
        ValueError: the directory does not exist or contains no model, or `text` has no mask token within the longest
            sequence.
    """
    tokenizer = load_tokenizer(directory)
    model = _load_masked_lm(directory)
    length = min(tokenizer.model_max_length, _longest_sequence(model))
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=length)
    masked = inputs["input_ids"][0] == tokenizer.mask_token_id  # (T,)
    if not masked.any():
        raise ValueError(
            f"{text!r} has no {tokenizer.mask_token} in its first {length} tokens: put one where a word is to be "
            "guessed"
        )
    with torch.inference_mode():
        logits = model(**inputs).logits[0, masked].float()  # (M, V)
    best = logits.softmax(1).topk(min(top, logits.shape[1]))
    return [
        [(str(tokenizer.decode(token)).strip(), value) for token, value in zip(tokens, values, strict=True)]
        for tokens, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _vocab_size(family: Family[Any], state_dict: Mapping[str, Tensor]) -> int:
    if family.word_embeddings not in state_dict:
        raise ValueError(f"the state dict lacks {family.word_embeddings}: it is no {family.name} model")
    return len(state_dict[family.word_embeddings])


def load_tokenizer(directory: Path) -> transformers.PreTrainedTokenizerBase:
    """Loads the tokenizer of a directory from its checked files alone."""
    checked = model_files.tokenizer_files(directory)
    if config := model_files.find(directory, model_files.CONFIG):  # names the class if the tokenizer does not
        model_files.read_json(config)
        checked.append(config)
    with model_files.only(checked) as files:
        return _loaded(transformers.AutoTokenizer, files, directory)


def _load_masked_lm(directory: Path) -> transformers.PreTrainedModel:
    """Loads the masked language model of a directory from safetensors and a matching configuration."""
    model, report = _load_checked(transformers.AutoModelForMaskedLM, directory)
    _require_parameters(report, directory, "a masked language model")
    return model


def load_model(directory: Path, family: Family[Any]) -> transformers.PreTrainedModel:
    """Loads a model in fp32 and evaluation mode, as the class that its configuration names.

    Args:
        directory: a model directory with safetensors.
        family: its family.

    Raises:
        ValueError: the directory names no class of the family, or lacks a parameter of the class.
    """
    named = model_files.architecture(directory / model_files.CONFIG, model_files.read_config(directory))
    if named not in (known := classes_of(family)):
        raise ValueError(
            f"{directory / model_files.CONFIG}: architectures = {named!r}: must be one of {', '.join(sorted(known))}"
        )
    model, report = _load_checked(getattr(transformers, named), directory, dtype=torch.float32)
    _require_parameters(report, directory, f"a {named}")
    return model


def load_whole(directory: Path, model_class: str, unread: Collection[str] = ()) -> transformers.PreTrainedModel:
    """Loads a directory that this program has written, in fp32 and in evaluation mode.

    Args:
        directory: the directory.
        model_class: its class.
        unread: names of tensors in the files that the class ignores.

    Raises:
        ValueError: a parameter of the class is missing, unexpected or of another shape.
    """
    model, report = _load_checked(getattr(transformers, model_class), directory, dtype=torch.float32)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found := sorted({str(name) for name in report[kind]} - set(unread)):
            raise ValueError(
                f"transformers reports {kind.replace('_', ' ')} when it loads {model_class} "
                f"({', '.join(found[:5])}); this is a defect of the export, please report it"
            )
    return model


def _load_checked(
    chosen: Any, directory: Path, **options: Any
) -> tuple[transformers.PreTrainedModel, Mapping[str, Any]]:
    """Loads a model from checked files, in evaluation mode, with what `transformers` reports of its parameters."""
    fields, weights = model_files.read_config(directory), model_files.weight_files(directory)
    layers, tensors = fields.get("num_hidden_layers", 0), model_files.outlines(weights)
    if not isinstance(layers, int) or layers > len(tensors):
        raise ValueError(
            f"{directory / model_files.CONFIG}: num_hidden_layers = {layers!r}, but the weights hold "
            f"{len(tensors)} tensors; take both files from the same model"
        )
    extra = [path for name in (model_files.CONFIG, model_files.INDEX) if (path := model_files.find(directory, name))]
    with model_files.only([*weights, *extra]) as files:
        options |= {"use_safetensors": True, "attn_implementation": "eager", "output_loading_info": True}
        model, report = _loaded(chosen, files, directory, **options)
    return model.eval(), report


def _require_parameters(report: Mapping[str, Any], directory: Path, what: str) -> None:
    """Raises ValueError if a parameter of the class is missing."""
    if report["missing_keys"]:
        raise ValueError(
            f"{directory} lacks {sorted(report['missing_keys'])[0]}: it is not {what}; give the directory of one"
        )


def _loaded(auto_class: Any, files: Path, directory: Path, **options: Any) -> Any:
    """Loads checked files with an Auto class; its errors of any type become a ValueError that names the directory."""
    try:
        return auto_class.from_pretrained(files, local_files_only=True, trust_remote_code=False, **options)
    except Exception as error:
        reason = " ".join(str(error).split())[:MOST_SHOWN].replace(str(files), str(directory))
        what = "tokenizer" if auto_class is transformers.AutoTokenizer else "model"
        raise ValueError(
            f"{directory}: transformers cannot load the {what} ({type(error).__name__}: {reason}); get its files from "
            "their source again"
        ) from None


def _longest_sequence(model: transformers.PreTrainedModel) -> int:
    """Returns the number of tokens of the longest sequence that the model can read."""
    positions = getattr(model.config, "max_position_embeddings", None) or 512
    embeddings = getattr(model.base_model.embeddings, "position_embeddings", None)
    # RoBERTa's positions begin after the id of the padding token.
    padding = getattr(embeddings, "padding_idx", None)
    return int(positions) if padding is None else int(positions) - padding - 1


@contextmanager
def atomic_directory(final: Path) -> Iterator[Path]:
    """Yields a temporary directory that is renamed to `final` once its files are on disk, and removed on an error."""
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        mode = temporary.stat().st_mode & 0o666  # permissions by the user's umask; safetensors creates files with 0600
        for path in temporary.rglob("*"):
            path.chmod(mode)
            flush(path)
        flush(temporary)
        temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary)
        raise
    flush(final.parent)
