"""BERT of Megatron-LM: normalisation before each sub-layer, masked runs of words and sentence-order prediction (Shoeybi
et al. 2019, https://arxiv.org/abs/1909.08053; NVIDIA/Megatron-LM, pretrain_bert.py).

It computes the same as `transformers.MegatronBertForPreTraining`; with `model.sentence_order = false`, without pooler
and classifier of pairs, the same as `transformers.MegatronBertForMaskedLM`. A sample has an exact number of masked
tokens; Megatron-LM masks at most that many.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.data.config import NgramMasking
from pipeline.data.template import Template
from pipeline.families import bert
from pipeline.families.albert import MASKED, ORDER
from pipeline.families.base import (
    Export,
    Family,
    Names,
    TaskHead,
    config_from_fields,
    require_fixed,
    under,
    with_bias,
)
from pipeline.families.encoders import (
    LAYER,
    OUR_OWN_FIELDS,
    OUTPUT_BIAS,
    PARAMETERS,
    WORD_EMBEDDINGS,
    build_pooled_classifier,
    shared_heads,
)
from pipeline.families.students import students
from pipeline.model.student_config import FIELDS_OF_THE_TEACHER, StudentConfig

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class MegatronBertConfig(StudentConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    layer_norm_eps: float = 1e-5
    """Number that layer normalisation adds to the variance."""
    type_vocab_size: int = 2
    """Number of segment embeddings: one for A, one for B."""
    sentence_order: bool = True
    """Whether pairs of segments are classified, too, as in order or swapped, by a pooler and a head. Requires pairs
    (--segments sop); without it, samples of single segments are possible, and the labels of pairs are ignored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.type_vocab_size < 2:
            raise ValueError(
                f"model.type_vocab_size = {self.type_vocab_size}: must be at least 2; sentence pairs have two segments"
            )
        if self.sentence_order:
            self.require_no_teacher("with sentence-order prediction", "model.sentence_order = false")


def build(config: MegatronBertConfig, vocab_size: int) -> "nn.Module":
    """Build the model. Initial weights are normally distributed; those of products whose results are added to the
    residual stream are scaled by their number, as in Megatron-LM.
    """
    from pipeline.model.initialization import scale_outputs
    from pipeline.model.prenorm import PreNormEncoder
    from pipeline.model.pretraining import MaskedLanguageModel

    pair = ORDER if config.sentence_order else None
    model = MaskedLanguageModel(config, vocab_size, MASKED, pair, config.type_vocab_size, encoder=PreNormEncoder)
    scale_outputs(model.encoder.layers, 1 / math.sqrt(2 * config.num_hidden_layers))
    return model


ENCODER_NAMES: Names = {
    "encoder.embeddings.word.weight": ("bert.embeddings.word_embeddings.weight",),
    "encoder.embeddings.position.weight": ("bert.embeddings.position_embeddings.weight",),
    **bert.SEGMENT_NAMES,
    **with_bias("encoder.final_layer_norm", "bert.encoder.ln"),
}
LAYER_NAMES: Names = {
    **with_bias("attention_layer_norm", "attention.ln"),
    **with_bias("qkv", "attention.self.query", "attention.self.key", "attention.self.value"),
    **with_bias("attention_output", "attention.output.dense"),
    **with_bias("output_layer_norm", "ln"),
    **with_bias("intermediate", "intermediate.dense"),
    **with_bias("output", "output.dense"),
}
FIELDS_OF_OURS = OUR_OWN_FIELDS | {"sentence_order", *FIELDS_OF_THE_TEACHER}
FIXED = {**bert.FIXED, "model_type": "megatron-bert"}


def masked_names(num_layers: int) -> Names:
    """Return, for each parameter, its name or the names of its parts in `transformers.MegatronBertForMaskedLM`."""
    layers = {
        f"encoder.layers.{number}.{ours}": under(f"bert.encoder.layer.{number}", theirs)
        for number in range(num_layers)
        for ours, theirs in LAYER_NAMES.items()
    }
    return {**ENCODER_NAMES, **layers, **bert.HEAD_NAMES}


def names(num_layers: int) -> Names:
    """Return the same for `transformers.MegatronBertForPreTraining`."""
    return {**masked_names(num_layers), **bert.PAIR_NAMES}


def config_to(config: MegatronBertConfig, vocab_size: int) -> dict[str, Any]:
    """Return the arguments of `transformers.MegatronBertConfig`, whose fields have the same names."""
    shared = {name: value for name, value in asdict(config).items() if name not in FIELDS_OF_OURS}
    return shared | {"vocab_size": vocab_size}


def config_from(values: Mapping[str, Any]) -> MegatronBertConfig:
    """Return the configuration that corresponds to a complete dictionary of a `transformers.MegatronBertConfig`.

    Raises:
        ValueError: a field has a value that this family does not support.
    """
    require_fixed("megatron_bert", values, FIXED)
    return config_from_fields(MegatronBertConfig, values, FIELDS_OF_OURS)


def masked_config_from(values: Mapping[str, Any]) -> MegatronBertConfig:
    """Return the same for a model without sentence-order prediction."""
    return replace(config_from(values), sentence_order=False)


PRETRAINING = Export(
    model_class="MegatronBertForPreTraining",
    names=names,
    config_to=config_to,
    config_from=config_from,
    ties=bert.PRETRAINING.ties,
    class_ties=bert.PRETRAINING.class_ties,
    ignored=bert.PRETRAINING.ignored,
    modern=bert.modern,
)
MASKED_LM = replace(
    PRETRAINING,
    model_class="MegatronBertForMaskedLM",
    names=masked_names,
    config_from=masked_config_from,
    ignored=bert.MASKED_LM.ignored,
)
POOLER = "bert.pooler.dense"
TASK_HEADS = {
    "sequence": TaskHead(
        "MegatronBertForSequenceClassification",
        build_pooled_classifier,
        new=with_bias("head.classifier", "classifier"),
        pretrained=with_bias("head.pooler.dense", POOLER),
    ),
    **shared_heads("MegatronBert", POOLER),
}
PAIRS = Family(
    name="megatron_bert",
    config=MegatronBertConfig,
    corruption=NgramMasking,
    template=Template(),
    samples=("sop",),
    terms=(MASKED, ORDER),
    build=build,
    parameters=PARAMETERS,
    word_embeddings=WORD_EMBEDDINGS,
    output_bias=OUTPUT_BIAS,
    layer=LAYER,
    export=PRETRAINING,
    heads=TASK_HEADS,
    finetuning=bert.FINETUNING,
    free_fields=FIELDS_OF_THE_TEACHER,
    applies=lambda config: config.sentence_order,
    setting="model.sentence_order = true",
    model_type="megatron-bert",
)
SINGLE = replace(
    PAIRS,
    samples=("full_sentences", "doc_sentences", "blocks", "chunks", "sop"),
    terms=(MASKED,),
    export=MASKED_LM,
    applies=lambda config: not config.sentence_order,
    setting="model.sentence_order = false",
)
FAMILY = replace(PAIRS, variants=students(SINGLE))
