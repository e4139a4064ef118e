"""Declarations shared by the families of post-normalised encoders with absolute positions: parameter names and
roles."""

from typing import TYPE_CHECKING

from pipeline.families.base import Names, TaskHead, under, with_bias
from pipeline.model.config import EncoderConfig
from pipeline.optim.parameters import Parameters

if TYPE_CHECKING:
    from torch import nn

WORD_EMBEDDINGS = "encoder.embeddings.word.weight"
OUTPUT_BIAS = "mlm_head.decoder.bias"
LAYER = ".qkv.weight"
OUR_OWN_FIELDS = {
    "initialization",
    "output_bias",
    "activation_checkpointing",
    "recompute_activation",
    "max_logits_mib",
    "z_loss",
    "kernels",
    "attention",
    "fp8",
}
"""Fields of the recipe's `[model]` that concern training or computation; an exported model does not have them."""

EMBEDDING_NAMES: Names = {
    "word.weight": ("word_embeddings.weight",),
    "position.weight": ("position_embeddings.weight",),
    **with_bias("layer_norm", "LayerNorm"),
}
LAYER_NAMES: Names = {
    **with_bias("qkv", "attention.self.query", "attention.self.key", "attention.self.value"),
    **with_bias("attention_output", "attention.output.dense"),
    **with_bias("attention_layer_norm", "attention.output.LayerNorm"),
    **with_bias("intermediate", "intermediate.dense"),
    **with_bias("output", "output.dense"),
    **with_bias("output_layer_norm", "output.LayerNorm"),
}


def encoder_names(prefix: str, num_layers: int) -> dict[str, tuple[str, ...]]:
    """Return the names in `transformers`, below `prefix`, of each parameter except segment embeddings."""
    names = {f"encoder.embeddings.{ours}": under(f"{prefix}.embeddings", to) for ours, to in EMBEDDING_NAMES.items()}
    for number in range(num_layers):
        for ours, theirs in LAYER_NAMES.items():
            names[f"encoder.layers.{number}.{ours}"] = under(f"{prefix}.encoder.layer.{number}", theirs)
    return names


def build_token_classifier(config: EncoderConfig, outputs: int) -> "nn.Module":
    """Build the classifier of tokens."""
    from pipeline.model.task_heads import TokenClassifier

    return TokenClassifier(config.hidden_size, outputs, config.hidden_dropout_prob)


def build_span_classifier(config: EncoderConfig, outputs: int) -> "nn.Module":
    """Build the classifier of the first and the last token of an answer, which has no dropout."""
    from pipeline.model.task_heads import TokenClassifier

    return TokenClassifier(config.hidden_size, outputs, 0.0)


def build_pooled_classifier(config: EncoderConfig, outputs: int) -> "nn.Module":
    """Build the classifier on the pooled first token."""
    from pipeline.model.task_heads import PooledClassifier

    return PooledClassifier(config.hidden_size, outputs, config.hidden_dropout_prob)


def shared_heads(classes: str, pooler: str = "") -> dict[str, TaskHead]:
    """Return the heads that are the same in all families.

    Args:
        classes: what the names of the family's classes in `transformers` begin with, such as Bert.
        pooler: name of the pooler's product in `transformers`; empty: as in BERT.
    """
    pooler = pooler or f"{classes.lower()}.pooler.dense"
    return {
        "tokens": TaskHead(
            f"{classes}ForTokenClassification",
            build_token_classifier,
            new=with_bias("head.classifier", "classifier"),
            output="tokens",
        ),
        "spans": TaskHead(
            f"{classes}ForQuestionAnswering",
            build_span_classifier,
            new=with_bias("head.classifier", "qa_outputs"),
            output="spans",
        ),
        "choices": TaskHead(
            f"{classes}ForMultipleChoice",
            build_pooled_classifier,
            new=with_bias("head.classifier", "classifier"),
            pretrained=with_bias("head.pooler.dense", pooler),
            output="choices",
        ),
    }


def decays(name: str) -> bool:
    """Return whether a parameter takes weight decay: all do except biases and layer normalisation.

    Source: google-research/bert, optimization.py.
    """
    return not (name.endswith("bias") or "layer_norm" in name)


def stacks(name: str) -> int:
    """Return the number of tensors that a parameter stacks: three for the projection of query, key and value."""
    return len(LAYER_NAMES["qkv.weight"]) if ".qkv." in name else 1


def is_matrix(name: str) -> bool:
    """Return whether a parameter is a matrix of a layer: not of the embeddings or heads, and not a vector."""
    return name.startswith("encoder.layers.") and decays(name)


PARAMETERS = Parameters(decays, stacks, is_matrix)
