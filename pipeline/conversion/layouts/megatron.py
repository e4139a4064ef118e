"""BERT checkpoints of Megatron-LM, of one process.

    DIRECTORY/model_optim_rng.pt, or DIRECTORY/mp_rank_00/model_optim_rng.pt
              vocab.txt

Megatron trains BERT with normalisation before each sub-layer, the family megatron_bert. With its option
`--apply-residual-connection-post-layernorm`, residual connections begin behind a normalisation, and the model is the
original BERT under other names: the input normalisation of the first layer is that of the embeddings, and that of each
further layer, or the final one, is the output normalisation of the layer before.

Early versions did not save the options of the trainer; a `config.json` of `transformers.MegatronBertConfig` beside the
checkpoint then replaces them.

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
POST_NORM = "apply_residual_connection_post_layernorm"
"""Option of Megatron that makes the model the original BERT."""
PRE_NORM_TYPE = "megatron-bert"
"""`model_type` in `transformers` of the other models."""
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
    "mlp.dense_h_to_4h": "intermediate.dense",
    "mlp.dense_4h_to_h": "output.dense",
}
NORMS = ("input_layernorm", "post_attention_layernorm", "final_layernorm")
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
    """Return whether a path is a directory of this layout, or its checkpoint; weights of `transformers` in the same
    directory come first.
    """
    others = (model_files.WEIGHTS, model_files.INDEX, model_files.PICKLE, model_files.PICKLE_INDEX)
    if any((path / name).exists() for name in others):
        return False
    return path.name == FILE or any((path / place).is_file() for place in (FILE, f"{RANK}/{FILE}"))


def read(path: Path, allow_pickle: bool) -> Source:
    """Read a checkpoint.

    Raises:
        ValueError: the file is missing or damaged, the pickle is not allowed, options are missing, or the model
            is divided over several processes.
    """
    file = path if path.is_file() else in_directory(path)
    directory = path if path.is_dir() else path.parent
    content = pickled.load(file, allow_pickle)
    args, config = pickled.options(content), "args"
    if not args:
        args, config = options_of_config(file, directory), model_files.CONFIG
    require_whole(file, args)
    if not isinstance(content.get("model"), dict):
        raise ValueError(f"{file}: holds no tensors under 'model'; name another file")
    heads, layers = (pickled.whole_number(file, args, name) for name in ("num_attention_heads", "num_layers"))
    post_norm, version = pickled.required(file, args, POST_NORM), content.get("checkpoint_version", 0)
    if version not in VERSIONS:
        raise ValueError(f"{file}: checkpoint_version = {version}: must be one of {VERSIONS}")
    try:
        tensors = dict(renamed(pickled.flatten(content["model"]), heads, layers, post_norm, version))
    except (RuntimeError, ZeroDivisionError) as error:
        raise ValueError(f"{file}: query_key_value does not divide into {heads} heads ({error})") from None
    return Source(
        path=file,
        fields=configuration(file, args, tensors),
        outlines={name: value.to("meta") for name, value in tensors.items()},
        values=partial(model_files.finite, tensors.items()),
        tokenizer=directory,
        config=config,
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


def options_of_config(file: Path, directory: Path) -> dict[str, Any]:
    """Return the options that a `config.json` of `transformers.MegatronBertConfig` states.

    Raises:
        ValueError: there is none, or it is of another model.
    """
    if model_files.find(directory, model_files.CONFIG) is None:
        raise ValueError(
            f"{file}: holds no options of the trainer, as files of early versions of Megatron-LM; put a config.json "
            'with "model_type": "megatron-bert" and its num_attention_heads, num_hidden_layers and hidden_size into '
            f"{directory}"
        )
    fields = model_files.read_config(directory)
    if fields.get("model_type") != PRE_NORM_TYPE:
        raise ValueError(
            f"{directory / model_files.CONFIG}: model_type = {fields.get('model_type')!r}: must be {PRE_NORM_TYPE!r} "
            f"beside {file.name}, which holds no options of the trainer"
        )
    found = {theirs: fields[ours] for ours, theirs in FIELDS.items() if ours in fields}
    found |= {"ffn_hidden_size": fields["intermediate_size"]} if "intermediate_size" in fields else {}
    return {**found, "bias_gelu_fusion": fields.get("hidden_act") == "gelu_new", POST_NORM: False}


def require_whole(file: Path, args: Mapping[str, Any]) -> None:
    """Raise ValueError if the model is divided over several processes."""
    for name in ("tensor_model_parallel_size", "model_parallel_size", "pipeline_model_parallel_size"):
        if args.get(name, 1) != 1:
            raise ValueError(
                f"{file}: {name} = {args[name]}: a part of the model; merge the parts with Megatron's tools first"
            )


def norm_name(part: str, number: int, post_norm: bool) -> str:
    """Return the name in `transformers` of the module of a normalisation.

    Args:
        part: name of the normalisation within its layer.
        number: number of its layer, from 0; for the final one, the number of layers.
        post_norm: whether the model is the original BERT.
    """
    place = f"bert.encoder.layer.{number}"
    if part == "post_attention_layernorm":
        return f"{place}.attention.output.LayerNorm" if post_norm else f"{place}.ln"
    if post_norm:
        return f"bert.encoder.layer.{number - 1}.output.LayerNorm" if number else "bert.embeddings.LayerNorm"
    return f"{place}.attention.ln" if part == "input_layernorm" else "bert.encoder.ln"


def configuration(file: Path, args: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of `config.json`; those that the options lack have the defaults of `transformers`."""
    fields = {ours: args[theirs] for ours, theirs in FIELDS.items() if args.get(theirs) is not None}
    words = tensors.get("bert.embeddings.word_embeddings.weight")
    width = args.get("ffn_hidden_size") or 4 * pickled.whole_number(file, args, "hidden_size")
    approximate = args.get("bias_gelu_fusion") or args.get("openai_gelu")
    return {
        "model_type": "bert" if args[POST_NORM] else PRE_NORM_TYPE,
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


def renamed(
    tensors: Mapping[str, Tensor], heads: int, layers: int, post_norm: bool, version: float
) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters under their names in `transformers`; unknown ones keep their names."""
    for name, value in tensors.items():
        name = name.removeprefix("language_model.").replace(".attention.", ".self_attention.")
        name = re.sub(r"^transformer\.", "encoder.", name)
        module, _, kind = name.rpartition(".")
        found = re.fullmatch(r"encoder\.layers\.(\d+)\.(.*)", module)
        number, part = (int(found[1]), found[2]) if found else (layers, module.removeprefix("encoder."))
        if part in NORMS:
            yield f"{norm_name(part, number, post_norm)}.{kind}", value
        elif found is None:
            yield f"{MODULES.get(module, module)}.{kind}", value
        elif part == "self_attention.query_key_value":
            for each, third in zip(("query", "key", "value"), unfused(value, heads, version), strict=True):
                yield f"bert.encoder.layer.{number}.attention.self.{each}.{kind}", third
        else:
            yield f"bert.encoder.layer.{number}.{LAYER_MODULES.get(part, part)}.{kind}", value


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
