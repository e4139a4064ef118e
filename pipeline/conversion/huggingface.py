"""Export to Hugging Face `transformers`.

An export is a directory that `transformers` loads without code of this project: `config.json`, `model.safetensors`, the
tokenizer's files and `README.md`, the model card. Parameter names and configuration fields are each family's
(`families/<name>.py`); this file writes directories, and beside `task_models.py` no other file of `pipeline/` imports
`transformers`.
It reads through `model_files`, so that no file of a model directory is executed.
"""

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from pipeline.checkpoints import model_files
from pipeline.conversion.names import to_huggingface
from pipeline.conversion.parts import divide
from pipeline.families.base import Family
from pipeline.model.encoder import EncoderConfig
from preprocessing.files import flush

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
    if out_dir.exists():
        raise ValueError(
            f"{out_dir} exists already, and an export never overwrites: remove it or name another directory"
        )
    tokenizer = load_tokenizer(tokenizer_dir)
    vocab_size = _vocab_size(family, state_dict)
    if len(tokenizer) != vocab_size:
        raise ValueError(
            f"{tokenizer_dir} has {len(tokenizer)} tokens but the model's vocabulary has {vocab_size}: "
            "export the model with the tokenizer that its data was made with"
        )
    parts = divide(family, config, state_dict)
    fields = [
        part.family.export.config_to(part.config, vocab_size) | {"pad_token_id": tokenizer.pad_token_id}
        for part in parts
    ]
    models = [
        _assemble(part.family, values, to_huggingface(part.family, part.state_dict))
        for part, values in zip(parts, fields, strict=True)
    ]
    with _atomic_directory(out_dir) as temporary:
        for part, (model, tensors) in zip(parts, models, strict=True):
            directory = temporary / part.directory
            model.save_pretrained(directory, state_dict=tensors)
            copy_tokenizer(tokenizer_dir, directory, longest_sequence(family, config))
            (directory / "README.md").write_text(card, encoding="utf-8")


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
    fields, weights = model_files.read_config(directory), model_files.weight_files(directory)
    layers, tensors = fields.get("num_hidden_layers", 0), model_files.outlines(weights)
    if not isinstance(layers, int) or layers > len(tensors):
        raise ValueError(
            f"{directory / model_files.CONFIG}: num_hidden_layers = {layers!r}, but the weights hold "
            f"{len(tensors)} tensors; take both files from the same model"
        )
    extra = [path for name in (model_files.CONFIG, model_files.INDEX) if (path := model_files.find(directory, name))]
    with model_files.only([*weights, *extra]) as files:
        options = {"use_safetensors": True, "attn_implementation": "eager", "output_loading_info": True}
        model, report = _loaded(transformers.AutoModelForMaskedLM, files, directory, **options)
    if report["missing_keys"]:
        raise ValueError(
            f"{directory} lacks {sorted(report['missing_keys'])[0]}: it is no masked language model; "
            "give the directory of one"
        )
    return model.eval()


def _loaded(auto_class: Any, files: Path, directory: Path, **options: Any) -> Any:
    """Loads checked files with an Auto class; its errors of any type become a ValueError that names the directory."""
    try:
        return auto_class.from_pretrained(files, local_files_only=True, trust_remote_code=False, **options)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(str(files), str(directory))
        raise ValueError(f"{directory}: transformers cannot load it ({type(error).__name__}: {reason})") from None


def _longest_sequence(model: transformers.PreTrainedModel) -> int:
    """Returns the number of tokens of the longest sequence that the model can read."""
    positions = getattr(model.config, "max_position_embeddings", None) or 512
    embeddings = getattr(model.base_model.embeddings, "position_embeddings", None)
    # RoBERTa's positions begin after the id of the padding token.
    padding = getattr(embeddings, "padding_idx", None)
    return int(positions) if padding is None else int(positions) - padding - 1


def _assemble(
    family: Family[Any], fields: Mapping[str, Any], parameters: Mapping[str, Tensor]
) -> tuple[transformers.PreTrainedModel, dict[str, Tensor] | None]:
    """Returns the family's `transformers` model with these parameters, without copies or random initialisation.

    The tensors to save follow: None if they are the parameters of the model; else also those that its class lacks.
    """
    model_class, unread = getattr(transformers, family.export.model_class), family.export.unread
    with torch.device("meta"):
        model = model_class(model_class.config_class(**fields))
    further = {unread[name]: value for name, value in parameters.items() if name in unread}
    # The names of an encoder without a head have no prefix.
    prefix = f"{model.base_model_prefix}." if model.base_model is model else ""
    parameters = {name.removeprefix(prefix): value for name, value in parameters.items() if name not in unread}
    try:
        model.load_state_dict(parameters, strict=True, assign=True)
    except RuntimeError as error:  # torch's message lists the names and shapes
        raise ValueError(f"the parameters do not fit the {family.name} configuration: {error}") from error
    model.tie_weights()
    return model, {**model.state_dict(), **further} if further else None


@contextmanager
def _atomic_directory(final: Path) -> Iterator[Path]:
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
