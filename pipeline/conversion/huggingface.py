"""Export to and import from Hugging Face `transformers`.

An export is a directory that `transformers` loads without code of this project: `config.json`, `model.safetensors`, the
tokenizer's files and `README.md`, the model card. Parameter names and configuration fields are each family's
(`families/<name>.py`); this file writes and reads directories, and no other file of `pipeline/` imports `transformers`.
It reads through `model_files`, so that no file of a model directory is executed.
"""

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor

from pipeline.checkpoints import model_files
from pipeline.conversion.classes import assemble, classes_of
from pipeline.conversion.names import count_layers, form_of_tensors, from_huggingface, to_huggingface
from pipeline.families.base import Family
from pipeline.model.encoder import EncoderConfig
from preprocessing.files import flush

# No progress bars and load reports for single files; missing and unexpected tensors are checked here.
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


class Pretrained(NamedTuple):
    """A model read from a Hugging Face directory."""

    state_dict: dict[str, Tensor]
    """Parameters in fp32 under the names of this project."""
    config: EncoderConfig
    vocab_size: int


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
    cuts texts at the model's longest sequence, whatever `tokenizer_dir` says.

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
    fields = fields_of(family, config, _vocab_size(family, state_dict), tokenizer_dir)
    model = assemble(family.export.model_class, fields, to_huggingface(family, state_dict))
    with atomic_directory(out_dir) as temporary:
        model.save_pretrained(temporary)
        copy_tokenizer(tokenizer_dir, temporary, longest_sequence(family, config))
        (temporary / "README.md").write_text(card, encoding="utf-8")


def require_absent(out_dir: Path) -> None:
    """Raises ValueError if the directory of an export exists."""
    if out_dir.exists():
        raise ValueError(
            f"{out_dir} exists already, and an export never overwrites: remove it or name another directory"
        )


def fields_of(family: Family[Any], config: EncoderConfig, vocab_size: int, tokenizer_dir: Path) -> dict[str, Any]:
    """Returns the arguments of the configuration in `transformers` of a model with its tokenizer.

    Raises:
        ValueError: the tokenizer is of another size than the vocabulary.
    """
    tokenizer = load_tokenizer(tokenizer_dir)
    if len(tokenizer) != vocab_size:
        raise ValueError(
            f"{tokenizer_dir} has {len(tokenizer)} tokens but the model's vocabulary has {vocab_size}: "
            "export the model with the tokenizer that its data was made with"
        )
    return family.export.config_to(config, vocab_size) | {"pad_token_id": tokenizer.pad_token_id}


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


def read_pretrained(family: Family[Any], directory: Path, allow_pickle: bool = False) -> Pretrained:
    """Reads a model that `transformers` saved, to continue its training.

    Args:
        family: family of the model.
        directory: holds `config.json` and the weights of the family's pre-training class, or of the class of one of its
            variants, heads included.
        allow_pickle: whether `pytorch_model.bin` may be read, as tensors only, where there is no safetensors file.

    Returns:
        The parameters in fp32 under the names of this project, the configuration and the size of the vocabulary.

    Raises:
        ValueError: there is no such directory, its configuration has a value that the family does not support, or a
            tensor is missing, unexpected, not finite, or of another shape than the configuration requires.
    """
    fields, files = model_files.read_config(directory), model_files.weight_files(directory, allow_pickle)
    try:
        family = form_of_tensors(family, model_files.outlines(files))
        default = getattr(transformers, family.export.model_class).config_class().to_dict()
        config = family.export.config_from(default | fields)
        outlines = _outlines(family, files)
        vocab_size = _vocab_size(family, outlines)
        if fields.get("vocab_size", vocab_size) != vocab_size:
            raise ValueError(
                f"config.json: vocab_size = {fields['vocab_size']!r}, but the weights hold {vocab_size} tokens; "
                "take both files from the same model"
            )
        _require_shapes(family, config, vocab_size, outlines)
        state_dict = from_huggingface(family, model_files.values(files))
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from None
    return Pretrained(state_dict, config, vocab_size)


def _outlines(family: Family[Any], files: list[Path]) -> dict[str, Tensor]:
    """Returns the parameters as meta tensors under the names of this project."""
    outlines = model_files.outlines(files)
    try:
        return from_huggingface(family, outlines)
    except ValueError as error:
        raise ValueError(
            f"{error}; training goes on from a {family.export.model_class}, saved with its heads"
        ) from None


def _require_shapes(family: Family[Any], config: EncoderConfig, vocab_size: int, found: Mapping[str, Tensor]) -> None:
    """Raises ValueError unless the parameters, which may be meta tensors, have the shapes of the configuration."""
    layers = count_layers(family, found)
    if layers != config.num_hidden_layers:
        raise ValueError(
            f"config.json: num_hidden_layers = {config.num_hidden_layers}, but the weights hold {layers} layers; "
            "take both files from the same model"
        )
    try:
        with torch.device("meta"):
            expected = family.build(config, vocab_size).state_dict()
    except RuntimeError as error:  # a size beyond 64 bits
        raise ValueError(f"config.json: no model has these sizes ({str(error).splitlines()[0]})") from None
    for name, value in expected.items():
        if name not in found or found[name].shape != value.shape:
            shape = tuple(found[name].shape) if name in found else "missing"
            raise ValueError(
                f"{name} is {shape} in the weights, {tuple(value.shape)} according to config.json; "
                "take both files from the same model"
            )


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
    return _load_checked(transformers.AutoModelForMaskedLM, directory, "a masked language model")


def load_model(directory: Path, family: Family[Any]) -> transformers.PreTrainedModel:
    """Loads a model in fp32 and evaluation mode, as the class that its configuration names.

    Args:
        directory: a model directory with safetensors.
        family: its family.

    Raises:
        ValueError: the directory names no class of the family, or lacks a parameter of the class.
    """
    named = (model_files.read_config(directory).get("architectures") or [""])[0]
    if named not in (known := classes_of(family)):
        raise ValueError(
            f"{directory / model_files.CONFIG}: architectures = {named!r}: must be one of {', '.join(sorted(known))}"
        )
    return _load_checked(getattr(transformers, named), directory, f"a {named}", dtype=torch.float32)


def _load_checked(chosen: Any, directory: Path, what: str, **options: Any) -> transformers.PreTrainedModel:
    """Loads a model with all parameters of its class from checked files, in evaluation mode."""
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
    if report["missing_keys"]:
        raise ValueError(
            f"{directory} lacks {sorted(report['missing_keys'])[0]}: it is not {what}; give the directory of one"
        )
    loaded: transformers.PreTrainedModel = model.eval()
    return loaded


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
