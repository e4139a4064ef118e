"""BERT checkpoints of Megatron-LM, of one process.

    DIRECTORY/model_optim_rng.pt, or DIRECTORY/mp_rank_00/model_optim_rng.pt
              vocab.txt

Megatron trains BERT with normalisation before each sub-layer, which no family here computes (`transformers` calls it
MegatronBert). With its option `--apply-residual-connection-post-layernorm`, residual connections begin behind a
normalisation, and the model is the original BERT under other names: the input normalisation of the first layer is that
of the embeddings, and that of each further layer, or the final one, is the output normalisation of the layer before.

Query, key and value are one tensor, whose rows were ordered differently by version: 0: (3, heads, width); 1: (heads,
width, 3); 2 and 3: (heads, 3, width). Source: `checkpointing.py` of Megatron-LM, `fix_query_key_value_ordering`.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.checkpoints import model_files
from pipeline.conversion.layouts import pickled
from pipeline.conversion.layouts.base import Source

FILE = "model_optim_rng.pt"
RANK = "mp_rank_00"
VERSIONS = (0, 1, 2, 3)
MODULES = {
    "embedding.word_embeddings": "bert.embeddings.word_embeddings",
    "embedding.position_embeddings": "bert.embeddings.position_embeddings",
    "embedding.tokentype_embeddings": "bert.embeddings.token_type_embeddings",
    "pooler.dense": "bert.pooler.dense",
    "lm_head.dense": "cls.predictions.transform.dense",
    "lm_head.layernorm": "cls.predictions.transform.LayerNorm",
    "lm_head": "cls.predictions",
    "binary_head": "cls.seq_relationship",
}
"""Names of modules outside of the layers, here and in `transformers`."""
LAYER_MODULES = {
    "self_attention.dense": "attention.output.dense",
    "post_attention_layernorm": "attention.output.LayerNorm",
    "mlp.dense_h_to_4h": "intermediate.dense",
    "mlp.dense_4h_to_h": "output.dense",
}
FIELDS = {
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_attention_heads",
    "max_position_embeddings": "max_position_embeddings",
    "hidden_dropout_prob": "hidden_dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "initializer_range": "init_method_std",
    "layer_norm_eps": "layernorm_epsilon",
}
"""Fields of `config.json` -> options of Megatron."""


def matches(path: Path) -> bool:
    """Return whether a path is a directory of this layout, or its checkpoint."""
    return path.name == FILE or any((path / place).is_file() for place in (FILE, f"{RANK}/{FILE}"))


def read(path: Path, allow_pickle: bool) -> Source:
    """Read a checkpoint.

    Raises:
        ValueError: the file is missing or damaged, the pickle is not allowed, or the model is divided over several
            processes or has its normalisation before the sub-layers.
    """
    file = path if path.is_file() else in_directory(path)
    content = pickled.load(file, allow_pickle)
    args = pickled.options(content)
    require_original(file, args)
    if not isinstance(content.get("model"), dict):
        raise ValueError(f"{file}: holds no tensors under 'model'; name another file")
    version, heads = content.get("checkpoint_version", 0), pickled.required(file, args, "num_attention_heads")
    if version not in VERSIONS:
        raise ValueError(f"{file}: checkpoint_version = {version}: must be one of {VERSIONS}")
    try:
        tensors = dict(renamed(pickled.flatten(content["model"]), heads, args.get("num_layers", 0), version))
    except (RuntimeError, ZeroDivisionError) as error:
        raise ValueError(f"{file}: query_key_value does not divide into {heads} heads ({error})") from None
    directory = path if path.is_dir() else path.parent
    return Source(
        path=file,
        fields=configuration(file, args, tensors),
        outlines={name: value.to("meta") for name, value in tensors.items()},
        values=partial(model_files.finite, tensors.items()),
        tokenizer=directory,
        config="args",
        left_out=tuple(str(name) for name in content if name not in ("model", "args", "checkpoint_version")),
        notes=notes(args),
    )


def in_directory(path: Path) -> Path:
    """Return the checkpoint of a directory.

    Raises:
        ValueError: there is none, or it is a link that leads out of the directory.
    """
    directory = model_files.subdirectory(path, RANK) if (path / RANK).is_dir() else path
    if found := model_files.find(directory, FILE):
        return found
    raise ValueError(f"{directory / FILE}: missing; name the directory that holds it")


def require_original(file: Path, args: Mapping[str, Any]) -> None:
    """Raise ValueError unless the model is the original BERT, and whole."""
    for name in ("tensor_model_parallel_size", "model_parallel_size", "pipeline_model_parallel_size"):
        if args.get(name, 1) != 1:
            raise ValueError(
                f"{file}: {name} = {args[name]}: a part of the model; merge the parts with Megatron's tools first"
            )
    if not pickled.required(file, args, "apply_residual_connection_post_layernorm"):
        raise ValueError(
            f"{file}: apply_residual_connection_post_layernorm = False: a model with normalisation before each "
            "sub-layer, which the bert family does not compute; use one that was trained with this option"
        )


def configuration(file: Path, args: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of `config.json`; those that the options lack have the defaults of `transformers`."""
    fields = {ours: args[theirs] for ours, theirs in FIELDS.items() if args.get(theirs) is not None}
    words = tensors.get("bert.embeddings.word_embeddings.weight")
    width = args.get("ffn_hidden_size") or 4 * pickled.required(file, args, "hidden_size")
    approximate = args.get("bias_gelu_fusion") or args.get("openai_gelu")
    return {
        "model_type": "bert",
        "layer_norm_eps": 1e-5,
        "vocab_size": 0 if words is None else len(words),
        "intermediate_size": width,
        "hidden_act": "gelu_new" if approximate else "gelu",
        **fields,
    }


def notes(args: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a sentence about the activation, where Megatron computes two."""
    if args.get("bias_gelu_fusion") and not args.get("openai_gelu"):
        return (
            "bias_gelu_fusion: GELU is the tanh approximation, as in the layers; Megatron's head computes it exactly",
        )
    return ()


def renamed(tensors: Mapping[str, Tensor], heads: int, layers: int, version: float) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters under their names in `transformers`; unknown ones keep their names."""
    for name, value in tensors.items():
        name = name.removeprefix("language_model.").replace(".attention.", ".self_attention.")
        name = re.sub(r"^transformer\.", "encoder.", name)
        module, _, kind = name.rpartition(".")
        found = re.fullmatch(r"encoder\.layers\.(\d+)\.(.*)", module)
        if found is None:
            known = f"bert.encoder.layer.{layers - 1}.output.LayerNorm" if module == "encoder.final_layernorm" else ""
            yield f"{known or MODULES.get(module, module)}.{kind}", value
            continue
        number, part = int(found[1]), found[2]
        place = f"bert.encoder.layer.{number}"
        if part == "self_attention.query_key_value":
            for each, third in zip(("query", "key", "value"), unfused(value, heads, version), strict=True):
                yield f"{place}.attention.self.{each}.{kind}", third
        elif part == "input_layernorm":
            before = f"bert.encoder.layer.{number - 1}.output.LayerNorm" if number else "bert.embeddings.LayerNorm"
            yield f"{before}.{kind}", value
        else:
            yield f"{place}.{LAYER_MODULES.get(part, part)}.{kind}", value


def unfused(value: Tensor, heads: int, version: float) -> tuple[Tensor, ...]:
    """Return query, key and value of a tensor (3 * heads * width, ...) that holds all of them.

    Raises:
        RuntimeError: its rows cannot be divided.
    """
    rest = value.shape[1:]
    width = len(value) // (3 * heads)
    if version >= 2:
        ordered = value.view(heads, 3, width, *rest).transpose(0, 1)
    elif version >= 1:
        ordered = value.view(heads, width, 3, *rest).movedim(2, 0)
    else:
        ordered = value.view(3, heads, width, *rest)
    return ordered.reshape(3, heads * width, *rest).unbind()
