"""BERT: masked tokens and next-sentence pairs (Devlin et al. 2018; google-research/bert).

Equals `transformers.BertForPreTraining` in what it computes; the tables below say how the parameters correspond.

Shapes: T tokens, B sequences, M masked tokens, H hidden_size, V vocab_size.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.families.base import (
    Family,
    Names,
    config_from_fields,
    fill_ties,
    rename_from_huggingface,
    rename_to_huggingface,
)
from pipeline.families.bert_config import BertConfig
from pipeline.losses.cross_entropy import cross_entropy_sum
from pipeline.model.encoder import Encoder, encoder_forward_flops, initialize_weights
from pipeline.model.heads import MaskedLMHead, Pooler


class BertOutput(NamedTuple):
    """What a micro-batch contributes to its global batch. Only `loss` carries gradients."""

    loss: Tensor  # () this micro-batch's share of the global loss; the shares add up to it
    mlm_loss_sum: Tensor  # () sum of cross entropies over masked tokens, in nats
    mlm_correct: Tensor  # () masked tokens predicted exactly
    pair_loss_sum: Tensor  # () sum of cross entropies over sentence pairs, in nats
    pair_correct: Tensor  # () sentence pairs classified correctly


class BertForPreTraining(nn.Module):
    """Encoder, masked-token head and next-sentence head.

    Args:
        config: shape and regularisation.
        vocab_size: V, number of tokens in the tokenizer.
    """

    def __init__(self, config: BertConfig, vocab_size: int) -> None:
        super().__init__()
        self.kernels = config.kernels
        self.encoder = Encoder(config, vocab_size)
        self.pooler = Pooler(config.hidden_size)
        self.mlm_head = MaskedLMHead(config, self.encoder.embeddings.word)
        self.pair_head = nn.Linear(config.hidden_size, 2)  # 0: B follows A in its document, 1: it does not
        self.apply(partial(initialize_weights, std=config.initializer_range))

    def forward(self, batch: Batch) -> BertOutput:
        """Losses of one micro-batch.

        The loss is its sum over masked tokens divided by the masked tokens of the *global* batch, plus the same of
        sentence pairs: added over all micro-batches and ranks, whatever the split, this is the global batch's loss.
        """
        hidden = self.hidden(batch)
        mlm = self.mlm_head(hidden.index_select(0, batch.masked_positions), batch.masked_labels)
        pair = cross_entropy_sum(self.pair_logits(hidden, batch), batch.pair_labels, self.kernels)
        loss = mlm.loss / batch.num_masked_global + pair.loss / batch.num_samples_global
        return BertOutput(loss, mlm.loss.detach(), mlm.correct, pair.loss.detach(), pair.correct)

    def logits(self, batch: Batch, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Logits over the vocabulary for chosen tokens (R,) -> (R, V), and for every sentence pair (B, 2)."""
        hidden = self.hidden(batch)
        return self.mlm_head(hidden.index_select(0, rows)), self.pair_logits(hidden, batch)

    def hidden(self, batch: Batch) -> Tensor:
        """Hidden states (T, H) of the last layer."""
        out: Tensor = self.encoder(
            batch.input_ids, batch.token_type_ids, batch.position_ids, batch.cu_seqlens, batch.max_seqlen
        )
        return out

    def pair_logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Logits of the sentence pairs (B, 2) from hidden states (T, H)."""
        logits: Tensor = self.pair_head(self.pooler(hidden, batch.cu_seqlens[: batch.num_samples]))
        return logits


def no_weight_decay(name: str) -> bool:
    """Biases and layer normalisation are not decayed. Source: google-research/bert, optimization.py."""
    return name.endswith("bias") or "layer_norm" in name


def stacked_tensors(name: str) -> int:
    """Query, key and value are three tensors to LAMB, though one product here."""
    return len(LAYER_NAMES["qkv.weight"]) if ".qkv." in name else 1


def training_flops(
    config: BertConfig, vocab_size: int, *, num_tokens: int, sum_squared_lengths: int, num_masked: int, num_samples: int
) -> int:
    """Floating-point operations of forward and backward pass, counting real tokens and useful products only.

    Forward: the encoder's (`encoder_forward_flops`), plus 2H^2 + 2HV per masked token, plus 2H^2 for the pooler per
    sample. The backward pass counts twice the forward pass; recomputation under activation checkpointing counts
    nothing, being no use to the model. BERT-large with 128 tokens, 20 of them masked: 240.6e9 per sample.

    Args:
        config: the model's shape.
        vocab_size: V.
        num_tokens: sum of the sequence lengths, special tokens included.
        sum_squared_lengths: sum of their squares.
        num_masked: tokens that the masked-token head sees.
        num_samples: number of sequences.
    """
    dense = 2 * config.hidden_size**2
    decoder = 2 * config.hidden_size * vocab_size
    heads = num_masked * (dense + decoder) + num_samples * dense
    return 3 * (encoder_forward_flops(config, num_tokens, sum_squared_lengths) + heads)


def _with_bias(ours: str, *theirs: str) -> Names:
    return {f"{ours}.{kind}": tuple(f"{name}.{kind}" for name in theirs) for kind in ("weight", "bias")}


EMBEDDING_NAMES: Names = {
    "word.weight": ("word_embeddings.weight",),
    "position.weight": ("position_embeddings.weight",),
    "token_type.weight": ("token_type_embeddings.weight",),
    **_with_bias("layer_norm", "LayerNorm"),
}
LAYER_NAMES: Names = {
    **_with_bias("qkv", "attention.self.query", "attention.self.key", "attention.self.value"),
    **_with_bias("attention_output", "attention.output.dense"),
    **_with_bias("attention_layer_norm", "attention.output.LayerNorm"),
    **_with_bias("intermediate", "intermediate.dense"),
    **_with_bias("output", "output.dense"),
    **_with_bias("output_layer_norm", "output.LayerNorm"),
}
HEAD_NAMES: Names = {
    **_with_bias("pooler.dense", "bert.pooler.dense"),
    **_with_bias("mlm_head.dense", "cls.predictions.transform.dense"),
    **_with_bias("mlm_head.layer_norm", "cls.predictions.transform.LayerNorm"),
    **_with_bias("mlm_head.decoder", "cls.predictions.decoder"),
    **_with_bias("pair_head", "cls.seq_relationship"),
}
WORD_EMBEDDINGS = "encoder.embeddings.word.weight"
TIES = {"mlm_head.decoder.weight": WORD_EMBEDDINGS}
HUGGINGFACE_TIES = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}

# Buffers that older versions of transformers saved among the parameters; they hold 0, 1, 2, ... or zeros.
HUGGINGFACE_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")

# Fields of a `config.json` that change what the model computes, and the only value this family computes.
HUGGINGFACE_FIXED = {
    "model_type": "bert",
    "tie_word_embeddings": True,
    "is_decoder": False,
    "position_embedding_type": "absolute",
}
# Fields that are no property of the trained model.
OUR_OWN_FIELDS = {"activation_checkpointing", "recompute_activation", "max_logits_mib", "kernels"}


def parameter_names(num_layers: int) -> Names:
    """Every parameter's name here -> its name, or the names of its parts, in `transformers.BertForPreTraining`."""
    names = {
        f"encoder.embeddings.{ours}": _under("bert.embeddings", theirs) for ours, theirs in EMBEDDING_NAMES.items()
    }
    for i in range(num_layers):
        for ours, theirs in LAYER_NAMES.items():
            names[f"encoder.layers.{i}.{ours}"] = _under(f"bert.encoder.layer.{i}", theirs)
    return {**names, **HEAD_NAMES}


def _under(prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names)


def _count_layers(state: Mapping[str, Tensor], once_per_layer: str) -> int:
    """How many layers a state dict has, counted by a parameter that each layer has once."""
    return sum(name.endswith(once_per_layer) for name in state)


def to_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `transformers.BertForPreTraining` that computes the same; views of the given tensors.

    Raises:
        ValueError: `state` is not that of a `BertForPreTraining`.
    """
    names = parameter_names(_count_layers(state, ".qkv.weight"))
    renamed = rename_to_huggingface(fill_ties(state, TIES), names)
    renamed["cls.predictions.bias"] = renamed["cls.predictions.decoder.bias"]
    return renamed


def from_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_huggingface`. Shared tensors may be present under one of their names only.

    Names as google-research's checkpoints have them (`gamma`, `beta`) and the bare encoder's without `bert.` are read
    as well.

    Raises:
        ValueError: `state` is not that of a `transformers.BertForPreTraining`, or tensors that are one differ.
    """
    filled = fill_ties({_modern(name): value for name, value in state.items()}, HUGGINGFACE_TIES)
    for alias, source in HUGGINGFACE_TIES.items():
        _require_equal(filled, alias, source)
    names = parameter_names(_count_layers(filled, ".attention.self.query.weight"))
    kept = {name: filled[name] for name in filled if not name.endswith(HUGGINGFACE_BUFFERS)}
    kept.pop("cls.predictions.bias", None)
    return rename_from_huggingface(kept, names)


def _modern(name: str) -> str:
    """A parameter's name as `transformers` has it today."""
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(f"LayerNorm{old}"):
            name = name.removesuffix(old) + new
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name


def _require_equal(state: Mapping[str, Tensor], alias: str, source: str) -> None:
    """Raises ValueError where two tensors that the model shares have different shapes or values."""
    one, other = state.get(alias), state.get(source)
    if one is None or other is None or one is other:
        return
    if one.shape != other.shape or not (one.is_meta or torch.equal(one, other)):
        raise ValueError(f"{alias} differs from {source}, but the bert family has one tensor for both")


def config_to_huggingface(config: BertConfig, vocab_size: int) -> dict[str, Any]:
    """Arguments of `transformers.BertConfig`; the field names are the same."""
    shared = {name: value for name, value in asdict(config).items() if name not in OUR_OWN_FIELDS}
    return shared | {"vocab_size": vocab_size}


def config_from_huggingface(values: Mapping[str, Any]) -> BertConfig:
    """The configuration that a complete `transformers.BertConfig` dictionary describes.

    Raises:
        ValueError: a field asks for something this family does not compute.
    """
    for name, only in HUGGINGFACE_FIXED.items():
        if values.get(name, only) != only:
            raise ValueError(f"config.json: {name} = {values[name]!r}: the bert family computes only {only!r}")
    return config_from_fields(BertConfig, values, OUR_OWN_FIELDS)


FAMILY = Family(
    name="bert",
    config_class=BertConfig,
    build=BertForPreTraining,
    no_weight_decay=no_weight_decay,
    stacked_tensors=stacked_tensors,
    training_flops=training_flops,
    word_embeddings=WORD_EMBEDDINGS,
    huggingface_class="BertForPreTraining",
    config_to_huggingface=config_to_huggingface,
    config_from_huggingface=config_from_huggingface,
    to_huggingface=to_huggingface,
    from_huggingface=from_huggingface,
    count_layers=partial(_count_layers, once_per_layer=".qkv.weight"),
)
