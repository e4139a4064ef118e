"""Declarations shared by the families of post-normalised encoders with absolute positions: parameter names and
roles."""

from pipeline.families.base import Names, under, with_bias
from pipeline.optim.parameters import Parameters

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
