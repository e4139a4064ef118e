"""What the families of post-normalised encoders with absolute positions share: names, exclusions, own fields."""

from pipeline.families.base import Names, under, with_bias
from pipeline.optim.parameters import Parameters

WORD_EMBEDDINGS = "encoder.embeddings.word.weight"
LAYER = ".qkv.weight"
OUR_OWN_FIELDS = {"activation_checkpointing", "recompute_activation", "max_logits_mib", "kernels"}
"""Fields of the recipe's `[model]` that are no property of the trained model."""

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
    """Every parameter of the encoder, segment embeddings apart -> its names below `prefix` in `transformers`."""
    names = {f"encoder.embeddings.{ours}": under(f"{prefix}.embeddings", to) for ours, to in EMBEDDING_NAMES.items()}
    for number in range(num_layers):
        for ours, theirs in LAYER_NAMES.items():
            names[f"encoder.layers.{number}.{ours}"] = under(f"{prefix}.encoder.layer.{number}", theirs)
    return names


def decays(name: str) -> bool:
    """All but biases and layer normalisation are decayed. Source: google-research/bert, optimization.py."""
    return not (name.endswith("bias") or "layer_norm" in name)


def stacks(name: str) -> int:
    """Query, key and value are three tensors to LAMB, though one product here."""
    return len(LAYER_NAMES["qkv.weight"]) if ".qkv." in name else 1


PARAMETERS = Parameters(decays, stacks)
