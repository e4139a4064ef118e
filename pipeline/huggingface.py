"""Export to and import from Hugging Face `transformers`.

An export is a directory that `transformers` loads with no code of ours: `config.json`, `model.safetensors`, the
tokenizer's files and `README.md`, the model card. Parameter names and configuration fields are each family's
(`families/<name>.py`); this file knows how a directory is written and read, and is the only one below the tasks that
imports `transformers`.
"""

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor

from pipeline.families.base import Family
from pipeline.model.encoder import EncoderConfig
from preprocessing.files import flush

# What a tokenizer may consist of in a Hugging Face directory; no tokenizer has all of them.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "spm.model",
)


# Bars and load reports for directories of one file; what they report is checked here.
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


class Pretrained(NamedTuple):
    """A model read from a Hugging Face directory, in our terms."""

    state_dict: dict[str, Tensor]
    config: EncoderConfig
    vocab_size: int


def export(
    family: Family,
    state_dict: Mapping[str, Tensor],
    config: EncoderConfig,
    tokenizer_dir: Path,
    out_dir: Path,
    card: str,
) -> None:
    """Writes a model as a Hugging Face directory, which appears whole or not at all.

    `AutoModel`, `AutoTokenizer`, the family's pre-training class and the classes for its tasks load it.

    Args:
        family: the model's family.
        state_dict: all of the model's parameters, on any device; written in their own type.
        config: the model's configuration.
        tokenizer_dir: holds the tokenizer as `transformers` loads it; its files are copied as they are.
        out_dir: must not exist yet; its parent must.
        card: text of the model card, Markdown.

    Raises:
        ValueError: `out_dir` exists, the tokenizer is of another size than the vocabulary, or the parameters are not
            those of the family and configuration.
    """
    if out_dir.exists():
        raise ValueError(
            f"{out_dir} exists already, and an export never overwrites: remove it or name another directory"
        )
    tokenizer = _load_tokenizer(tokenizer_dir)
    vocab_size = _vocab_size(family, state_dict)
    if len(tokenizer) != vocab_size:
        raise ValueError(
            f"{tokenizer_dir} has {len(tokenizer)} tokens but the model's vocabulary has {vocab_size}: "
            "export the model with the tokenizer that its data was made with"
        )
    fields = family.config_to_huggingface(config, vocab_size) | {"pad_token_id": tokenizer.pad_token_id}
    model = _assemble(family, fields, family.to_huggingface(state_dict))
    with _atomic_directory(out_dir) as temporary:
        model.save_pretrained(temporary)
        for name in TOKENIZER_FILES:
            if (tokenizer_dir / name).is_file():
                shutil.copy(tokenizer_dir / name, temporary / name)
        (temporary / "README.md").write_text(card, encoding="utf-8")


def load(family: Family, directory: Path) -> Pretrained:
    """Reads a model that `transformers` wrote, to go on training it here.

    Args:
        family: the family to read it as.
        directory: holds `config.json` and the weights of the family's pre-training class, heads included.

    Returns:
        The parameters in fp32 under our names, the configuration and the vocabulary's size.

    Raises:
        ValueError: there is no such directory, its configuration asks for what the family does not compute, or the
            pre-training heads are missing.
    """
    if not (directory / "config.json").is_file():
        raise ValueError(f"{directory} has no config.json: name a directory that save_pretrained or an export wrote")
    settings = transformers.AutoConfig.from_pretrained(directory)
    try:
        config = family.config_from_huggingface(settings.to_dict())
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from error
    model_class = getattr(transformers, family.huggingface_class)
    model, report = model_class.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
    if report["missing_keys"]:
        raise ValueError(
            f"{directory} lacks {', '.join(sorted(report['missing_keys']))}: training can only go on from a "
            f"{family.huggingface_class}, whose heads were saved with it"
        )
    state_dict = family.from_huggingface(model.state_dict())
    return Pretrained(state_dict, config, _vocab_size(family, state_dict))


def fill_masks(directory: Path, text: str, top: int = 5) -> list[list[tuple[str, float]]]:
    """The most likely tokens at each mask token of a text.

    Args:
        directory: an exported model, or any masked language model that `transformers` saved.
        text: holds the tokenizer's mask token, such as [MASK], at least once.
        top: how many tokens to give for each.

    Returns:
        For each mask token, from left to right, tokens and their probabilities, the likeliest first.

    Raises:
        ValueError: there is no such directory, or no mask token in `text` (or only beyond the longest sequence).
    """
    tokenizer = _load_tokenizer(directory)
    inputs = tokenizer(text, return_tensors="pt", truncation=True)
    masked = inputs["input_ids"][0] == tokenizer.mask_token_id  # (T,)
    if not masked.any():
        raise ValueError(f"{text!r} has no {tokenizer.mask_token}: put one where a word is to be guessed")
    model = transformers.AutoModelForMaskedLM.from_pretrained(directory).eval()
    with torch.inference_mode():
        logits = model(**inputs).logits[0, masked].float()  # (M, V)
    best = logits.softmax(1).topk(min(top, logits.shape[1]))
    return [
        [(str(tokenizer.decode(token)).strip(), value) for token, value in zip(tokens, values, strict=True)]
        for tokens, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _vocab_size(family: Family, state_dict: Mapping[str, Tensor]) -> int:
    if family.word_embeddings not in state_dict:
        raise ValueError(f"the state dict lacks {family.word_embeddings}: it is no {family.name} model")
    return len(state_dict[family.word_embeddings])


def _load_tokenizer(directory: Path) -> transformers.PreTrainedTokenizerBase:
    if not directory.is_dir():
        raise ValueError(f"{directory} is no directory: name one that holds a tokenizer (tokenizer.json)")
    return transformers.AutoTokenizer.from_pretrained(directory)


def _assemble(
    family: Family, fields: Mapping[str, Any], parameters: Mapping[str, Tensor]
) -> transformers.PreTrainedModel:
    """The family's `transformers` model around these parameters: none is copied, none is drawn at random."""
    model_class = getattr(transformers, family.huggingface_class)
    with torch.device("meta"):
        model = model_class(model_class.config_class(**fields))
    try:
        model.load_state_dict(parameters, strict=True, assign=True)
    except RuntimeError as error:  # torch's message lists the names and shapes
        raise ValueError(f"the parameters do not fit the {family.name} configuration: {error}") from error
    model.tie_weights()
    return model


@contextmanager
def _atomic_directory(final: Path) -> Iterator[Path]:
    """A temporary directory beside `final` that takes its name once its files are on disk, and is removed on error."""
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            flush(path)
        temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary)
        raise
    flush(final.parent)
