"""ALBERT: one layer repeated, factorised embeddings, masked runs of words and sentence-order prediction (Lan et al.
2019, https://arxiv.org/abs/1909.11942; google-research/albert).

It computes the same as `transformers.AlbertForPreTraining`; with `model.sentence_order = false`, without pooler and
classifier of pairs, the same as `transformers.AlbertForMaskedLM`. In training it drops outputs of the feed-forward
network as google-research/albert does; the classes of `transformers` do not.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.data.config import NgramMasking
from pipeline.data.template import Template
from pipeline.families.base import (
    Export,
    Family,
    Names,
    Settings,
    TaskHead,
    config_from_fields,
    require_fixed,
    under,
    with_bias,
)
from pipeline.families.encoders import (
    EMBEDDING_NAMES,
    LAYER,
    OUR_OWN_FIELDS,
    OUTPUT_BIAS,
    PARAMETERS,
    WORD_EMBEDDINGS,
    build_pooled_classifier,
    shared_heads,
)
from pipeline.families.students import students
from pipeline.model.config import Activation
from pipeline.model.student_config import FIELDS_OF_THE_TEACHER, StudentConfig
from pipeline.runlog.terms import Term

if TYPE_CHECKING:
    from torch import nn

MASKED = Term("mlm", "masked-token", "masked")
ORDER = Term("sop", "sentence-order", "samples", classes=2)


@dataclass(frozen=True)
class AlbertConfig(StudentConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    embedding_size: int = 128
    """Width of the embeddings, in features; a projection to hidden_size follows them."""
    type_vocab_size: int = 2
    """Number of segment embeddings: one for A, one for B."""
    hidden_act: Activation = "gelu_new"
    """Activation of the feed-forward layer and head: gelu_new (tanh approximation, as in google-research/albert) or
    gelu (exact)."""
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

    @property
    def embedding_width(self) -> int:
        """Width of the embeddings, in features."""
        return self.embedding_size

    @property
    def projects_embeddings(self) -> bool:
        """Whether a projection follows the embeddings, which the classes of `transformers` have in any case."""
        return True

    @property
    def distinct_layers(self) -> int:
        """The only layer, which is repeated."""
        return 1


def build(config: AlbertConfig, vocab_size: int) -> "nn.Module":
    """Build the model. Initial weights are normally distributed, cut at two standard deviations, as in
    google-research/albert.
    """
    from pipeline.model.pretraining import MaskedLanguageModel

    pair = ORDER if config.sentence_order else None
    return MaskedLanguageModel(config, vocab_size, MASKED, pair, config.type_vocab_size, cut=2.0)


LAYER_NAMES: Names = {
    **with_bias("qkv", "attention.query", "attention.key", "attention.value"),
    **with_bias("attention_output", "attention.dense"),
    **with_bias("attention_layer_norm", "attention.LayerNorm"),
    **with_bias("intermediate", "ffn"),
    **with_bias("output", "ffn_output"),
    **with_bias("output_layer_norm", "full_layer_layer_norm"),
}
ENCODER_NAMES: Names = {
    **{f"encoder.embeddings.{ours}": under("albert.embeddings", theirs) for ours, theirs in EMBEDDING_NAMES.items()},
    "encoder.embeddings.token_type.weight": ("albert.embeddings.token_type_embeddings.weight",),
    **with_bias("encoder.projection", "albert.encoder.embedding_hidden_mapping_in"),
}
HEAD_NAMES: Names = {
    **with_bias("mlm_head.dense", "predictions.dense"),
    **with_bias("mlm_head.layer_norm", "predictions.LayerNorm"),
    **with_bias("mlm_head.decoder", "predictions.decoder"),
}
PAIR_NAMES: Names = {
    **with_bias("pooler.dense", "albert.pooler"),
    **with_bias("pair_head", "sop_classifier.classifier"),
}
FIELDS_OF_OURS = OUR_OWN_FIELDS | {"sentence_order", *FIELDS_OF_THE_TEACHER}
FIXED = {
    "model_type": "albert",
    "num_hidden_groups": 1,
    "inner_group_num": 1,
    "tie_word_embeddings": True,
    "position_embedding_type": "absolute",
}


def masked_names(num_layers: int) -> Names:
    """Return, for each parameter, its name or the names of its parts in `transformers.AlbertForMaskedLM`."""
    layers = {
        f"encoder.layers.{number}.{ours}": under(f"albert.encoder.albert_layer_groups.{number}.albert_layers.0", theirs)
        for number in range(min(num_layers, 1))
        for ours, theirs in LAYER_NAMES.items()
    }
    return {**ENCODER_NAMES, **layers, **HEAD_NAMES}


def names(num_layers: int) -> Names:
    """Return the same for `transformers.AlbertForPreTraining`."""
    return {**masked_names(num_layers), **PAIR_NAMES}


def modern(name: str) -> str:
    """Return the name of a parameter with the prefix that encoders without heads lack."""
    return f"albert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name


def config_to(config: AlbertConfig, vocab_size: int) -> dict[str, Any]:
    """Return the arguments of `transformers.AlbertConfig`, whose fields have the same names."""
    shared = {name: value for name, value in asdict(config).items() if name not in FIELDS_OF_OURS}
    return shared | {"vocab_size": vocab_size}


def config_from(values: Mapping[str, Any]) -> AlbertConfig:
    """Return the configuration that corresponds to a complete dictionary of a `transformers.AlbertConfig`.

    Raises:
        ValueError: a field has a value that this family does not support.
    """
    require_fixed("albert", values, FIXED)
    return config_from_fields(AlbertConfig, values, FIELDS_OF_OURS)


def masked_config_from(values: Mapping[str, Any]) -> AlbertConfig:
    """Return the same for a model without sentence-order prediction."""
    return replace(config_from(values), sentence_order=False)


PRETRAINING = Export(
    model_class="AlbertForPreTraining",
    names=names,
    config_to=config_to,
    config_from=config_from,
    ties={"mlm_head.decoder.weight": WORD_EMBEDDINGS},
    class_ties={
        "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
        "predictions.bias": "predictions.decoder.bias",
    },
    ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
    modern=modern,
)
MASKED_LM = replace(
    PRETRAINING,
    model_class="AlbertForMaskedLM",
    names=masked_names,
    config_from=masked_config_from,
    # Older versions of `transformers` saved the untrained pooler with this class.
    ignored=(*PRETRAINING.ignored, "pooler.weight", "pooler.bias"),
)
TASK_HEADS = {
    "sequence": TaskHead(
        "AlbertForSequenceClassification",
        build_pooled_classifier,
        new=with_bias("head.classifier", "classifier"),
        pretrained=with_bias("head.pooler.dense", "albert.pooler"),
    ),
    **shared_heads("Albert", "albert.pooler"),
}
# google-research/albert, run_glue.sh, which states steps and warm-up steps; here they are epochs of the task's training
# split, to the nearest whole one, and shares of the steps.
_SMALL = {"optimizer.lr": 2e-5, "training.batch_size": 16}
FINETUNING: dict[str, Settings] = {
    "": {"optimizer.lr": 2e-5, "training.batch_size": 32, "training.epochs": 3, "training.warmup_proportion": 0.1},
    "cola": {**_SMALL, "optimizer.lr": 1e-5, "training.epochs": 10, "training.warmup_proportion": 0.06},
    "stsb": {**_SMALL, "training.epochs": 10, "training.warmup_proportion": 0.06},
    "sst2": {"optimizer.lr": 1e-5, "training.epochs": 10, "training.warmup_proportion": 0.06},
    "qnli": {"optimizer.lr": 1e-5, "training.epochs": 10, "training.warmup_proportion": 0.06},
    "mnli": {"optimizer.lr": 3e-5, "training.batch_size": 128},
    "qqp": {"optimizer.lr": 5e-5, "training.batch_size": 128, "training.epochs": 5, "training.warmup_proportion": 0.07},
    "rte": {"optimizer.lr": 3e-5, "training.epochs": 10, "training.warmup_proportion": 0.25},
    "mrpc": {"training.epochs": 7, "training.warmup_proportion": 0.25},
    # Its README has these for run_squad_v1.py and run_squad_v2.py.
    "squad": {"optimizer.lr": 5e-5, "training.batch_size": 48, "training.epochs": 2, "text.max_length": 384},
}
PAIRS = Family(
    name="albert",
    config=AlbertConfig,
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
    finetuning=FINETUNING,
    free_fields=FIELDS_OF_THE_TEACHER,
    applies=lambda config: config.sentence_order,
    setting="model.sentence_order = true",
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
