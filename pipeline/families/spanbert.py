"""SpanBERT: masked spans of words and the span boundary objective, on single segments (Joshi et al. 2019,
https://arxiv.org/abs/1907.10529; facebookresearch/SpanBERT).

It computes the same as `transformers.BertForMaskedLM`. The head of the span boundary objective serves pre-training
alone: no class of `transformers` has it, an export leaves it out, and only checkpoints hold it.

Every masked token is a target of the objective, so that the number of targets follows from the lengths of the samples
(law 3). The reference implementation predicts at most 15 tokens of a span; here those behind the fifteenth have its
position embedding.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.data.config import SpanMasking
from pipeline.data.template import Template
from pipeline.families import bert
from pipeline.families.base import (
    FAMILY_FIELD,
    Export,
    Family,
    Names,
    Settings,
    config_from_fields,
    require_fixed,
    with_bias,
)
from pipeline.families.encoders import LAYER, OUR_OWN_FIELDS, OUTPUT_BIAS, PARAMETERS, WORD_EMBEDDINGS
from pipeline.families.students import with_students
from pipeline.model.student_config import FIELDS_OF_THE_TEACHER, StudentConfig
from pipeline.runlog.terms import Term

if TYPE_CHECKING:
    from torch import nn

MASKED = Term("mlm", "masked-token", "masked")
BOUNDARY = Term("sbo", "span-boundary", "masked")


@dataclass(frozen=True)
class SpanBertConfig(StudentConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    type_vocab_size: int = 2
    """Number of segment embeddings, as in BERT. Pre-training uses the first one; pairs of texts in fine-tuning use
    two."""
    span_positions: int = 15
    """Number of positions in a span that have embeddings of their own in the span boundary objective; tokens behind
    them have the last one."""
    span_position_size: int = 200
    """Width of these embeddings, in features."""


def build(config: SpanBertConfig, vocab_size: int) -> "nn.Module":
    """Build the model. Initial weights are normally distributed, cut at two standard deviations, as in BERT."""
    from pipeline.model.spans import SpanModel

    positions, width = config.span_positions, config.span_position_size
    return SpanModel(config, vocab_size, MASKED, BOUNDARY, positions, width, config.type_vocab_size, cut=2.0)


HEAD = "span_head"
HEAD_NAMES: Names = {
    name: (name,)
    for name in (
        f"{HEAD}.position.weight",
        *with_bias(f"{HEAD}.first"),
        *with_bias(f"{HEAD}.first_layer_norm"),
        *with_bias(f"{HEAD}.second"),
        *with_bias(f"{HEAD}.second_layer_norm"),
        *with_bias(f"{HEAD}.decoder"),
    )
}
FIELDS_OF_OURS = OUR_OWN_FIELDS | {"span_positions", "span_position_size", *FIELDS_OF_THE_TEACHER}


def names(num_layers: int) -> Names:
    """Return, for each parameter, its name or the names of its parts in `transformers.BertForMaskedLM`; those of the
    span boundary head, which it lacks, are the names here.
    """
    return {**bert.masked_names(num_layers), **HEAD_NAMES}


def config_to(config: SpanBertConfig, vocab_size: int) -> dict[str, Any]:
    """Return the arguments of `transformers.BertConfig`, whose fields have the same names, and the family."""
    shared = {name: value for name, value in asdict(config).items() if name not in FIELDS_OF_OURS}
    return shared | {"vocab_size": vocab_size, FAMILY_FIELD: "spanbert"}


def config_from(values: Mapping[str, Any]) -> SpanBertConfig:
    """Return the configuration that corresponds to a complete dictionary of a `transformers.BertConfig`.

    Raises:
        ValueError: a field has a value that this family does not support.
    """
    require_fixed("spanbert", values, bert.FIXED)
    return config_from_fields(SpanBertConfig, values, FIELDS_OF_OURS)


FINETUNING: dict[str, Settings] = {
    # README of facebookresearch/SpanBERT.
    "": {"optimizer.lr": 2e-5, "training.batch_size": 32, "training.epochs": 10, "training.warmup_proportion": 0.1},
    "squad": {"training.epochs": 4, "text.max_length": 512},
}
ALONE = Family(
    name="spanbert",
    config=SpanBertConfig,
    corruption=SpanMasking,
    template=Template(),
    samples=("blocks", "doc_sentences", "full_sentences", "chunks"),
    terms=(MASKED, BOUNDARY),
    build=build,
    parameters=PARAMETERS,
    word_embeddings=WORD_EMBEDDINGS,
    output_bias=OUTPUT_BIAS,
    further_biases=(f"{HEAD}.decoder.bias",),
    layer=LAYER,
    heads=bert.TASK_HEADS,
    finetuning=FINETUNING,
    free_fields=FIELDS_OF_THE_TEACHER,
    export=Export(
        model_class=bert.MASKED_LM.model_class,
        names=names,
        config_to=config_to,
        config_from=config_from,
        ties={"mlm_head.decoder.weight": WORD_EMBEDDINGS, f"{HEAD}.decoder.weight": WORD_EMBEDDINGS},
        class_ties={
            **bert.MASKED_LM.class_ties,
            f"{HEAD}.decoder.weight": bert.MASKED_LM.class_ties["cls.predictions.decoder.weight"],
        },
        unexported=(f"{HEAD}.",),
        ignored=bert.MASKED_LM.ignored,
        modern=bert.MASKED_LM.modern,
    ),
)
FAMILY = with_students(ALONE)
