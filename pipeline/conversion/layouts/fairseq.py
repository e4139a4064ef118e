"""Checkpoints of RoBERTa from fairseq.

    DIRECTORY/model.pt     a pickle with the parameters under `model` and the options under `args` or `cfg`
              dict.txt     the words in the order of their ids, without the special tokens
              tokenizer.json, or vocab.json and merges.txt, or vocab.bpe (the merges alone)

The ids are <s>, <pad>, </s>, <unk>, the lines of dict.txt, and <mask>. The words of a published model are not tokens
but the ids of GPT-2's vocabulary, which follow from the merges: 256 bytes, then one token for each merge. A tokenizer
in the directory may order its tokens differently; the rows of the embeddings then follow it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.checkpoints import model_files
from pipeline.conversion.layouts import pickled
from pipeline.conversion.layouts.base import Source
from pipeline.data.vocabularies import read_vocabulary

DICTIONARY = "dict.txt"
MERGES = ("merges.txt", "vocab.bpe")
FIRST, LAST = ("<s>", "<pad>", "</s>", "<unk>"), "<mask>"
"""Special tokens before and behind the words of dict.txt."""
FILLER = "madeupword"
"""Beginning of the words that pad dict.txt to a multiple of 8."""
WORDS = "roberta.embeddings.word_embeddings.weight"
BY_TOKEN = (WORDS, "lm_head.decoder.weight", "lm_head.bias")
"""Parameters with one row for each token."""
MODULES = {
    "embed_tokens": "embeddings.word_embeddings",
    "embed_positions": "embeddings.position_embeddings",
    "emb_layer_norm": "embeddings.LayerNorm",
    "layernorm_embedding": "embeddings.LayerNorm",
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
}
"""Names of modules of the encoder, here and in `transformers`."""


def matches(path: Path) -> bool:
    """Return whether a path is a directory of this layout, or a checkpoint in one."""
    directory = path if path.is_dir() else path.parent
    return (directory / DICTIONARY).exists() and (path.is_file() or any(path.glob("*.pt")))


def read(path: Path, allow_pickle: bool) -> Source:
    """Read a checkpoint.

    Raises:
        ValueError: a file is missing or damaged, the pickle is not allowed, or the words are not those of the
            tokenizer.
    """
    file, directory = pickled.file_of(path, "*.pt"), path if path.is_dir() else path.parent
    dictionary = model_files.find(directory, DICTIONARY)
    if file is None or dictionary is None:
        raise ValueError(f"{path}: needs a .pt file, and {DICTIONARY} beside it; copy both into one directory")
    content = pickled.load(file, allow_pickle)
    if not isinstance(content.get("model"), dict):
        raise ValueError(f"{file}: holds no tensors under 'model'; name another file")
    tensors = dict(renamed(content["model"]))
    fields = configuration(file, pickled.options(content), tensors)
    tokens = tokens_of_rows(dictionary)
    if len(tokens) != fields["vocab_size"]:
        raise ValueError(
            f"{dictionary}: names {len(tokens):,} tokens, special ones included, but {file.name} has "
            f"{fields['vocab_size']:,} rows; take both from the same model"
        )
    texts, order = vocabulary(directory, tokens)
    if is_permuted := order != list(range(len(tokens))):
        tensors |= {name: tensors[name][torch.tensor(order)] for name in BY_TOKEN if name in tensors}
    return Source(
        path=file,
        fields=fields,
        outlines={name: value.to("meta") for name, value in tensors.items()},
        values=partial(model_files.finite, tensors.items()),
        tokenizer=directory,
        config="args",
        left_out=tuple(str(name) for name in content if name not in ("model", "args", "cfg")),
        notes=("rows of the embeddings were put into the order of the tokenizer",) if is_permuted else (),
        texts=texts,
    )


def renamed(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters under their names in `transformers`; unknown ones keep their names."""
    for name, value in state.items():
        if name.endswith(("version", "_float_tensor")):
            continue
        name = re.sub(r"^(decoder|encoder)\.", "", name)
        if name.startswith("classification_heads."):
            yield f"classifier.{name.removeprefix('classification_heads.')}", value
        elif name == "lm_head.weight":
            yield "lm_head.decoder.weight", value
        elif not name.startswith("sentence_encoder."):
            yield name, value
        else:
            yield from of_encoder(name.removeprefix("sentence_encoder."), value)


def of_encoder(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield one parameter of the encoder, or the three of a fused projection."""
    found = re.fullmatch(r"(?:layers\.(\d+)\.)?(.*)", name)
    assert found is not None, "the expression matches every name"
    place = f"roberta.encoder.layer.{found[1]}." if found[1] else "roberta."
    if found[2] in ("self_attn.in_proj_weight", "self_attn.in_proj_bias"):
        for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
            yield f"{place}attention.self.{part}.{name.rpartition('_')[2]}", third
    else:
        module, _, kind = found[2].rpartition(".")
        yield f"{place}{MODULES.get(module, module)}.{kind}", value


def configuration(file: Path, args: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of `config.json`: shapes from the tensors, everything else from the options.

    Raises:
        ValueError: the number of heads is not known, a tensor is missing, or normalisation precedes the sub-layers.
    """
    if args.get("encoder_normalize_before"):
        raise ValueError(
            f"{file}: encoder_normalize_before = True: the roberta family normalises behind each sub-layer"
        )
    names = (
        WORDS,
        "roberta.embeddings.position_embeddings.weight",
        "roberta.encoder.layer.0.intermediate.dense.weight",
    )
    if missing := [name for name in names if name not in tensors]:
        raise ValueError(f"{file}: lacks {missing[0]} under fairseq's name; it is no RoBERTa, name another file")
    words, positions, wide = (tensors[name] for name in names)
    layers = {name.split(".")[3] for name in tensors if name.startswith("roberta.encoder.layer.")}
    return {
        "model_type": "roberta",
        "vocab_size": len(words),
        "hidden_size": words.shape[-1],
        "num_hidden_layers": len(layers),
        "num_attention_heads": pickled.required(file, args, "encoder_attention_heads"),
        "intermediate_size": len(wide),
        "max_position_embeddings": len(positions),
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "hidden_act": args.get("activation_fn", "gelu"),
        "hidden_dropout_prob": float(args.get("dropout", 0.1)),
        "attention_probs_dropout_prob": float(args.get("attention_dropout", 0.1)),
    }


def tokens_of_rows(dictionary: Path) -> list[str]:
    """Return the token of each row of the embeddings.

    Raises:
        ValueError: dict.txt is damaged or names ids of GPT-2 that the merges do not have.
    """
    try:
        lines = dictionary.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{dictionary}: not valid UTF-8 ({error}); get the file from its source again") from None
    words = [line.rsplit(" ", 1)[0] for line in lines if line and not line.endswith("#fairseq:overwrite")]
    if all(word.isdecimal() or word.startswith(FILLER) for word in words):
        known = gpt2_tokens(merges_of(dictionary.parent))
        if strange := [word for word in words if word.isdecimal() and int(word) >= len(known)]:
            raise ValueError(f"{dictionary}: id {strange[0]} of GPT-2's vocabulary is not among its merges; copy all")
        words = [known[int(word)] if word.isdecimal() else word for word in words]
    return [*FIRST, *words, LAST]


def merges_of(directory: Path) -> list[str]:
    """Return the merges of a byte-level BPE in the directory, such as "t h".

    Raises:
        ValueError: there are none.
    """
    if path := next((found for name in MERGES if (found := model_files.find(directory, name))), None):
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line and not line.startswith("#version")]
    if path := model_files.find(directory, "tokenizer.json"):
        merges = (model_files.read_json(path).get("model") or {}).get("merges") or []
        return [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    raise ValueError(f"{directory}: {DICTIONARY} has ids of GPT-2's vocabulary; copy its vocab.bpe beside it")


def gpt2_tokens(merges: Sequence[str]) -> list[str]:
    """Return the tokens of GPT-2's vocabulary in the order of their ids: bytes as characters, merges, end of text."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = [*map(chr, printable), *(chr(256 + number) for number in range(len(others)))]
    return [*characters, *(merge.replace(" ", "") for merge in merges), "<|endoftext|>"]


def vocabulary(directory: Path, tokens: Sequence[str]) -> tuple[dict[str, str], list[int]]:
    """Return files of a tokenizer, if the directory has none, and the row of each of its ids.

    Raises:
        ValueError: the tokenizer has a token without a row, or lacks one that is no filler.
    """
    if not any(model_files.find(directory, name) for name in ("tokenizer.json", "vocab.json")):
        merges = "\n".join(["#version: 0.2", *merges_of(directory)]) + "\n"
        ids = {token: number for number, token in enumerate(tokens)}
        return {"vocab.json": json.dumps(ids, ensure_ascii=False), "merges.txt": merges}, list(range(len(tokens)))
    rows = {token: row for row, token in enumerate(tokens)}
    theirs = read_vocabulary(directory).tokens
    wanted = [theirs[number] for number in sorted(theirs)]
    if missing := [token for token in wanted if token not in rows]:
        raise ValueError(
            f"{directory}: the tokenizer has {missing[0]!r}, but {DICTIONARY} does not; take both from one model"
        )
    left = [token for token in tokens if token not in set(wanted)]
    if strange := [token for token in left if not token.startswith(FILLER)]:
        raise ValueError(
            f"{directory}: {DICTIONARY} has {strange[0]!r}, but the tokenizer does not; take both from one model"
        )
    return {}, [rows[token] for token in [*wanted, *left]]
