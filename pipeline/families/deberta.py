"""DeBERTa, version 2: disentangled attention to contents and relative positions (He et al. 2021,
https://arxiv.org/abs/2006.03654; microsoft/DeBERTa), with the objectives of version 2 and of version 3
(https://arxiv.org/abs/2111.09543).

The encoder computes the same as `transformers.DebertaV2Model`. `model.objective` selects the objective:

- `masked`: masked tokens, which the enhanced mask decoder predicts (version 2). `transformers` has no mask decoder:
  `DebertaV2ForMaskedLM` has encoder and head of the model, and computes other logits. The embeddings of the decoder's
  absolute positions are in the exported file, where `transformers` ignores them.
- `masked_plain`: masked tokens, which the head predicts from the encoder's last layer, as `DebertaV2ForMaskedLM` does.
- `replaced`: a generator with a mask decoder and half as many layers, and replaced tokens (version 3). The exported
  encoder is a `DebertaV2Model`; `transformers` has no class with the head that detects replaced tokens, which is in the
  file as well.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from pipeline.data.config import NgramMasking
from pipeline.data.template import Template
from pipeline.families.base import (
    Export,
    Family,
    Names,
    Output,
    Part,
    Settings,
    TaskHead,
    Tensors,
    config_from_fields,
    require_fixed,
    under,
    with_bias,
)
from pipeline.families.encoders import (
    LAYER,
    OUR_OWN_FIELDS,
    OUTPUT_BIAS,
    WORD_EMBEDDINGS,
    decays,
    shared_heads,
    stacks,
)
from pipeline.model.config import DisentangledConfig, EncoderConfig
from pipeline.optim.parameters import Parameters
from pipeline.runlog.terms import Term

if TYPE_CHECKING:  # recipes and help texts do not need them, so that functions that compute import them
    from torch import nn

    from pipeline.data.masking import Corrupted, Draw
    from pipeline.data.packing import Int64Array, Packed
    from pipeline.data.special_tokens import SpecialTokens

Objective = Literal["masked", "masked_plain", "replaced"]

MASKED = Term("mlm", "masked-token", "masked")
REPLACED = Term("rtd", "replaced-token", "tokens", weight=50.0)


@dataclass(frozen=True)
class DebertaConfig(DisentangledConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    objective: Objective = "masked"
    """Objective: masked (masked tokens, predicted by the enhanced mask decoder), masked_plain (without the decoder), or
    replaced (replaced tokens of a generator with half as many layers, as DeBERTa-v3)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in get_args(Objective):
            raise ValueError(
                f"model.objective = {self.objective}: must be one of {', '.join(get_args(Objective))}; version 3 of "
                "DeBERTa has replaced"
            )

    @property
    def generator(self) -> "DebertaConfig":
        """Configuration of the generator, which is as wide as the encoder and has half as many layers."""
        depth, checkpointing = max(1, self.num_hidden_layers // 2), self.activation_checkpointing
        if not isinstance(checkpointing, bool):
            checkpointing = min(checkpointing, depth)
        return replace(self, num_hidden_layers=depth, activation_checkpointing=checkpointing, objective="masked")

    @property
    def layer_step(self) -> int:
        """Number of layers that must be added for every part of the model to grow."""
        return 2 if self.objective == "replaced" else 1


@dataclass(frozen=True)
class DebertaMasking(NgramMasking):
    """Number of masked tokens, the length of the masked runs of words, what replaces the tokens, and how often the
    masks change.

    Source: NGramMaskGenerator of mlm_task.py of microsoft/DeBERTa, which visits the words from left to right and may
    mask fewer tokens at the end of a sample; here the order is random, and counts are exact (law 3).
    """

    max_predictions: int = 0
    """Upper bound on the masked tokens of a sample; 0: no upper bound."""
    whole_words: bool = True
    """Whether runs of up to max_ngram words are masked (DeBERTa-v2), or single tokens (DeBERTa-v3)."""

    def apply(self, packed: "Packed", counts: "Int64Array", draw: "Draw", special: "SpecialTokens") -> "Corrupted":
        """Mask runs of words or single tokens, drawn without replacement."""
        import numpy as np

        from pipeline.data.hashing import Purpose
        from pipeline.data.masking import choose_tokens, replace_tokens

        if self.whole_words:
            return super().apply(packed, counts, draw, special)
        keys = draw.keys(Purpose.MASKED_POSITION, self.duplicates)
        positions = choose_tokens(packed.is_text, packed.cu_seqlens, counts, keys)
        words = np.arange(special.vocab_size)
        return replace_tokens(packed, positions, counts, draw, self.duplicates, special, words, self.mask_only)


def build(config: DebertaConfig, vocab_size: int) -> "nn.Module":
    """Build the model. Initial weights are normally distributed, as in microsoft/DeBERTa."""
    from pipeline.model.disentangled_pretraining import MaskedDisentangledModel, ReplacedDisentangledModel

    if config.objective == "replaced":
        return ReplacedDisentangledModel(config, config.generator, vocab_size, MASKED, REPLACED)
    return MaskedDisentangledModel(config, vocab_size, MASKED, decodes=config.objective == "masked")


def build_discriminator(config: DebertaConfig, vocab_size: int) -> "nn.Module":
    """Build the encoder with its head, without the generator."""
    from pipeline.model.disentangled_pretraining import DisentangledDiscriminator

    return DisentangledDiscriminator(config, vocab_size)


def build_classifier(config: EncoderConfig, outputs: int) -> "nn.Module":
    """Build the classifier of texts."""
    from torch.nn.functional import gelu

    from pipeline.model.task_heads import DenseClassifier

    return DenseClassifier(config.hidden_size, outputs, config.hidden_dropout_prob, gelu, first_dropout=0.0)


def is_matrix(name: str) -> bool:
    """Return whether a parameter is a matrix of a layer of the encoder or the generator."""
    return name.startswith(("encoder.layers.", "generator.layers.")) and decays(name)


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
FIELDS_OF_OURS = OUR_OWN_FIELDS | {"objective", "convolution"}
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


def in_discriminator(name: str) -> str:
    """Return a parameter's name in the encoder with its head; empty for a parameter of the generator."""
    return name if name.startswith(("encoder.", "detection_head.")) else ""


IN_GENERATOR = {"generator.": "encoder.", "generator_head.": "mlm_head.", "mask_decoder.": "mask_decoder."}
"""Prefixes of names in the whole model -> prefixes in the generator alone."""


def in_generator(name: str) -> str:
    """Return a parameter's name in the generator alone; empty for a parameter that it lacks."""
    for ours, theirs in IN_GENERATOR.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return ""


GENERATOR_EMBEDDINGS = "generator.embeddings.word.weight"


def added_up(tensors: Tensors) -> Tensors:
    """Return the parameters with the discriminator's word embeddings in place of their difference."""
    return {**tensors, WORD_EMBEDDINGS: tensors[GENERATOR_EMBEDDINGS] + tensors[WORD_EMBEDDINGS]}


def subtracted(tensors: Tensors) -> Tensors:
    """Return the parameters with that difference in place of the word embeddings; the inverse of `added_up`."""
    return {**tensors, WORD_EMBEDDINGS: tensors[WORD_EMBEDDINGS] - tensors[GENERATOR_EMBEDDINGS]}


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


def joined(configs: tuple[DebertaConfig, ...]) -> DebertaConfig:
    """Return the configuration whose encoder and generator have given configurations.

    Raises:
        ValueError: the generator is not a copy of the encoder with half as many layers.
    """
    config = replace(configs[0], objective="replaced")
    wanted, found = asdict(config.generator), asdict(configs[1])
    for name in wanted.keys() - OUR_OWN_FIELDS:
        if wanted[name] != found[name]:
            raise ValueError(
                f"config.json of the generator: {name} = {found[name]!r}: must be {wanted[name]!r} beside an encoder "
                f"with num_hidden_layers = {config.num_hidden_layers}; take both from the same model"
            )
    return config


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
    # Buffers, and the pooler, which DeBERTa does not pre-train.
    ignored=("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"),
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
CLASSIFIERS: tuple[tuple[str, str, Output], ...] = (
    ("sequence", "DebertaV2ForSequenceClassification", "sequences"),
    ("choices", "DebertaV2ForMultipleChoice", "choices"),
)
TASK_HEADS = {
    **shared_heads("DebertaV2"),
    **{
        name: TaskHead(
            model_class,
            build_classifier,
            new={**with_bias("head.dense", "pooler.dense"), **with_bias("head.out_proj", "classifier")},
            output=output,
        )
        for name, model_class, output in CLASSIFIERS
    },
}
FINETUNING: dict[str, Settings] = {
    # microsoft/DeBERTa, experiments/glue: mnli.sh for deberta-v3-base, and cola.sh and qqp.sh for base, which state
    # warm-up steps; here they are shares of the steps. Large models take about half of the rates.
    "": {
        "optimizer.lr": 1.5e-5,
        "optimizer.bias_correction": False,
        "training.batch_size": 64,
        "training.epochs": 3,
        "training.warmup_proportion": 0.05,
    },
    "cola": {
        "optimizer.lr": 2e-5,
        "training.batch_size": 32,
        "training.epochs": 6,
        "training.warmup_proportion": 0.06,
    },
    "qqp": {"optimizer.lr": 2e-5, "training.epochs": 8, "training.warmup_proportion": 0.01},
}
DECODED = Family(
    name="deberta",
    config=DebertaConfig,
    corruption=DebertaMasking,
    template=Template(segments=False),
    samples=("full_sentences", "doc_sentences", "blocks", "chunks"),
    terms=(MASKED,),
    build=build,
    parameters=Parameters(decays, stacks, is_matrix),
    word_embeddings=WORD_EMBEDDINGS,
    output_bias=OUTPUT_BIAS,
    layer=LAYER,
    export=DECODER_EXPORT,
    heads=TASK_HEADS,
    finetuning=FINETUNING,
    applies=lambda config: config.objective == "masked",
    setting="model.objective = masked",
    model_type="deberta-v2",
)
PLAIN = replace(
    DECODED,
    export=PLAIN_EXPORT,
    applies=lambda config: config.objective == "masked_plain",
    setting="model.objective = masked_plain",
)
WHOLE = replace(
    DECODED,
    terms=(MASKED, REPLACED),
    output_bias="generator_head.decoder.bias",
    export=DISCRIMINATOR_EXPORT,
    applies=lambda config: config.objective == "replaced",
    setting="model.objective = replaced",
)
REPLACING = replace(
    WHOLE,
    parts=(
        Part("", replace(WHOLE, build=build_discriminator, terms=(REPLACED,)), in_discriminator),
        Part("generator", DECODED, in_generator, lambda config: config.generator),
    ),
    joined=joined,
    divided=added_up,
    united=subtracted,
    further_embeddings=(GENERATOR_EMBEDDINGS,),
)
FAMILY = replace(DECODED, variants=(PLAIN, REPLACING))
