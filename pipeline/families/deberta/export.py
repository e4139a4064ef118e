"""The correspondence of DeBERTa's models to classes of `transformers`."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pipeline.families.base import Export, Names, Tensors, config_from_fields, require_fixed, under, with_bias
from pipeline.families.deberta.config import DebertaConfig
from pipeline.families.encoders import OUR_OWN_FIELDS, WORD_EMBEDDINGS
from pipeline.model.student_config import FIELDS_OF_THE_TEACHER

ENCODER_NAMES: Names = {
    "encoder.embeddings.word.weight": ("deberta.embeddings.word_embeddings.weight",),
    **with_bias("encoder.embeddings.layer_norm", "deberta.embeddings.LayerNorm"),
    "encoder.relative.weight": ("deberta.encoder.rel_embeddings.weight",),
    **with_bias("encoder.relative_layer_norm", "deberta.encoder.LayerNorm"),
}
CONVOLUTION_NAMES: Names = {
    **with_bias("encoder.convolved.convolution", "deberta.encoder.conv.conv"),
    **with_bias("encoder.convolved.layer_norm", "deberta.encoder.conv.LayerNorm"),
}
LAYER_NAMES: Names = {
    **with_bias("qkv", "attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"),
    **with_bias("attention_output", "attention.output.dense"),
    **with_bias("attention_layer_norm", "attention.output.LayerNorm"),
    **with_bias("intermediate", "intermediate.dense"),
    **with_bias("output", "output.dense"),
    **with_bias("output_layer_norm", "output.LayerNorm"),
}
HEAD_NAMES: Names = {
    **with_bias("mlm_head.dense", "cls.predictions.transform.dense"),
    **with_bias("mlm_head.layer_norm", "cls.predictions.transform.LayerNorm"),
    **with_bias("mlm_head.decoder", "cls.predictions.decoder"),
}
DECODER_POSITIONS = "mask_decoder.position_embeddings.weight"
SAVED_POSITIONS = "deberta.embeddings.position_embeddings.weight"
"""Name of the decoder's positions in the files of microsoft/DeBERTa and of an export. They are no part of an encoder
here, although their name says so."""
DETECTION_NAMES: Names = {
    **with_bias("detection_head.layer_norm", "mask_predictions.LayerNorm"),
    **with_bias("detection_head.dense", "mask_predictions.dense"),
    **with_bias("detection_head.classifier", "mask_predictions.classifier"),
}
FIELDS_OF_OURS = OUR_OWN_FIELDS | {"objective", "convolution", *FIELDS_OF_THE_TEACHER}
FIXED = {
    "model_type": "deberta-v2",
    "tie_word_embeddings": True,
    "relative_attention": True,
    "position_biased_input": False,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "type_vocab_size": 0,
    "conv_groups": 1,
    "pooler_dropout": 0,
    "pooler_hidden_act": "gelu",
}
CONVOLUTION = {"conv_kernel_size": 3, "conv_act": "gelu"}
ATTENTION = ("p2c", "c2p")


def plain_names(num_layers: int) -> Names:
    """Return, for each parameter, its name or the names of its parts in `transformers.DebertaV2ForMaskedLM`."""
    return {**encoder_names(num_layers), **HEAD_NAMES}


def decoder_names(num_layers: int) -> Names:
    """Return the same for a model with a mask decoder."""
    return {**plain_names(num_layers), "mask_decoder.position.weight": (DECODER_POSITIONS,)}


def discriminator_names(num_layers: int) -> Names:
    """Return the same for `transformers.DebertaV2Model`, with the head that detects replaced tokens."""
    return {**encoder_names(num_layers), **DETECTION_NAMES}


def encoder_names(num_layers: int) -> Names:
    """Return the same for the encoder."""
    layers = {
        f"encoder.layers.{number}.{ours}": under(f"deberta.encoder.layer.{number}", theirs)
        for number in range(num_layers)
        for ours, theirs in LAYER_NAMES.items()
    }
    return {**ENCODER_NAMES, **CONVOLUTION_NAMES, **layers}


def modern(name: str) -> str:
    """Return the name of a parameter as an export has it: with the prefix that encoders without heads lack, and, for
    the head of masked tokens, in the place that `transformers` gives it by default.
    """
    if name.startswith(("embeddings.", "encoder.")):
        name = f"deberta.{name}"
    if name == SAVED_POSITIONS:
        return DECODER_POSITIONS
    head, found, rest = name.partition("lm_predictions.lm_head.")
    if head or not found:
        return name
    return "cls.predictions.bias" if rest == "bias" else f"cls.predictions.transform.{rest}"


GENERATOR_EMBEDDINGS, DIFFERENCE = "generator.embeddings.word.weight", "encoder.embeddings.difference.weight"
SAVED_DIFFERENCE = "word_embedding_difference.weight"
"""Name of the difference in the file of an export."""


def added_up(tensors: Tensors) -> Tensors:
    """Return the parameters with the discriminator's word embeddings in place of their difference from the generator's,
    and the difference as a further one.
    """
    difference = tensors[WORD_EMBEDDINGS]
    return {**tensors, WORD_EMBEDDINGS: tensors[GENERATOR_EMBEDDINGS] + difference, DIFFERENCE: difference}


def subtracted(tensors: Tensors) -> Tensors:
    """Return the parameters with that difference in place of the word embeddings; the inverse of `added_up`.

    The difference is the given one if it adds up to the word embeddings, so that no bit changes. It is computed if
    there is none, as in the models that were released, or if it adds up to others, as after a rounding to 16 bits.
    """
    import torch  # imported here: recipes and help texts do not need it

    shared, embeddings = tensors[GENERATOR_EMBEDDINGS], tensors[WORD_EMBEDDINGS]
    difference = tensors.get(DIFFERENCE)
    if difference is None or difference.shape != shared.shape or not torch.equal(shared + difference, embeddings):
        difference = embeddings - shared
    others = {name: value for name, value in tensors.items() if name != DIFFERENCE}
    return {**others, WORD_EMBEDDINGS: difference}


def config_to(config: DebertaConfig, vocab_size: int) -> dict[str, Any]:
    """Return the arguments of `transformers.DebertaV2Config`, whose fields have the same names."""
    shared = {name: value for name, value in asdict(config).items() if name not in FIELDS_OF_OURS}
    own = {name: value for name, value in FIXED.items() if name not in ("model_type", "conv_groups")}
    return {
        **shared,
        **own,
        **(CONVOLUTION if config.convolution else {}),
        "pos_att_type": list(ATTENTION),
        "max_relative_positions": -1,
        "vocab_size": vocab_size,
    }


def config_from(values: Mapping[str, Any]) -> DebertaConfig:
    """Return the configuration that corresponds to a complete dictionary of a `transformers.DebertaV2Config`.

    Raises:
        ValueError: a field has a value that this family does not support.
    """
    require_fixed("deberta", {"share_att_key": False, "norm_rel_ebd": "none", **values}, FIXED)
    has_convolution = bool(values.get("conv_kernel_size", 0))
    if has_convolution:
        require_fixed("deberta", {"conv_act": "tanh", **values}, CONVOLUTION)
    kinds = values.get("pos_att_type") or []
    kinds = [kind.strip() for kind in kinds.split("|")] if isinstance(kinds, str) else kinds
    if not isinstance(kinds, list) or set(map(str, kinds)) != set(ATTENTION):
        raise ValueError(f"config.json: pos_att_type = {kinds!r}: the deberta family computes only {list(ATTENTION)!r}")
    longest = values.get("max_relative_positions", -1)
    if longest not in (-1, 0, values.get("max_position_embeddings")):
        raise ValueError(
            f"config.json: max_relative_positions = {longest!r}: the deberta family computes only that of "
            "max_position_embeddings"
        )
    return replace(config_from_fields(DebertaConfig, values, FIELDS_OF_OURS), convolution=has_convolution)


def plain_config_from(values: Mapping[str, Any]) -> DebertaConfig:
    """Return the same for a model without a mask decoder."""
    return replace(config_from(values), objective="masked_plain")


PLAIN_EXPORT = Export(
    model_class="DebertaV2ForMaskedLM",
    names=plain_names,
    config_to=config_to,
    config_from=plain_config_from,
    ties={"mlm_head.decoder.weight": WORD_EMBEDDINGS},
    class_ties={
        "cls.predictions.decoder.weight": "deberta.embeddings.word_embeddings.weight",
        "cls.predictions.bias": "cls.predictions.decoder.bias",
    },
    optional=tuple(CONVOLUTION_NAMES),
    # Buffers, the pooler, which DeBERTa does not pre-train, and a tensor that only imports of models in parts read.
    ignored=("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias", SAVED_DIFFERENCE),
    modern=modern,
)
DECODER_EXPORT = replace(
    PLAIN_EXPORT, names=decoder_names, config_from=config_from, unread={DECODER_POSITIONS: SAVED_POSITIONS}
)
DISCRIMINATOR_EXPORT = replace(
    PLAIN_EXPORT,
    model_class="DebertaV2Model",
    names=discriminator_names,
    ties={},
    class_ties={},
    unread={name: name for names in DETECTION_NAMES.values() for name in names},
)
