"""DistilBERT: a model with few layers that learns masked tokens and the outputs of a teacher (Sanh et al. 2019,
https://arxiv.org/abs/1910.01108; distillation/ of huggingface/transformers-research-projects).

It computes the same as `transformers.DistilBertForMaskedLM`: BERT without segment embeddings and pooler. Without
`model.teacher` it trains on masked tokens alone; `students.py` has what a teacher adds, to this family as to others.
Position embeddings are learnt, as in the released models' configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.data.config import MaskingConfig
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
    shared_heads,
)
from pipeline.families.students import with_students
from pipeline.model.config import EncoderConfig
from pipeline.model.student_config import FIELDS_OF_THE_TEACHER, StudentConfig
from pipeline.runlog.terms import Term

if TYPE_CHECKING:
    from torch import nn

MASKED = Term("mlm", "masked-token", "masked")
EPSILON = 1e-12
"""Added to the variance in layer normalisation by the classes of `transformers`."""


@dataclass(frozen=True)
class DistilBertConfig(StudentConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    initialize_from_teacher: bool = True
    """Whether the student begins with the teacher's embeddings and evenly spaced layers of it, the first and the last
    one among them, and the bias of its logits; requires layers of BERT's kind and the same sizes. Without a teacher it
    has no effect."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer_norm_eps != EPSILON:
            raise ValueError(
                f"model.layer_norm_eps = {self.layer_norm_eps}: must be {EPSILON}, the only value of the class in "
                "transformers"
            )


def build(config: DistilBertConfig, vocab_size: int) -> "nn.Module":
    """Build the model. Initial weights are normally distributed, cut at two standard deviations, as in BERT."""
    from pipeline.model.pretraining import MaskedLanguageModel

    return MaskedLanguageModel(config, vocab_size, MASKED, cut=2.0)


def build_classifier(config: EncoderConfig, outputs: int) -> "nn.Module":
    """Build the classifier of texts."""
    from torch.nn.functional import relu

    from pipeline.model.task_heads import DenseClassifier

    return DenseClassifier(config.hidden_size, outputs, config.hidden_dropout_prob, relu, first_dropout=0.0)


LAYER_NAMES: Names = {
    **with_bias("qkv", "attention.q_lin", "attention.k_lin", "attention.v_lin"),
    **with_bias("attention_output", "attention.out_lin"),
    **with_bias("attention_layer_norm", "sa_layer_norm"),
    **with_bias("intermediate", "ffn.lin1"),
    **with_bias("output", "ffn.lin2"),
    **with_bias("output_layer_norm", "output_layer_norm"),
}
HEAD_NAMES: Names = {
    **with_bias("mlm_head.dense", "vocab_transform"),
    **with_bias("mlm_head.layer_norm", "vocab_layer_norm"),
    **with_bias("mlm_head.decoder", "vocab_projector"),
}
RENAMED = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "max_position_embeddings": "max_position_embeddings",
    "initializer_range": "initializer_range",
}
"""Fields here -> fields of `transformers.DistilBertConfig`."""
FIELDS_OF_OURS = OUR_OWN_FIELDS | {"layer_norm_eps", *FIELDS_OF_THE_TEACHER}
FIXED = {"model_type": "distilbert", "tie_word_embeddings": True, "sinusoidal_pos_embds": False}


def names(num_layers: int) -> Names:
    """Return, for each parameter, its name or the names of its parts in `transformers.DistilBertForMaskedLM`."""
    embeddings = {
        f"encoder.embeddings.{ours}": under("distilbert.embeddings", theirs) for ours, theirs in EMBEDDING_NAMES.items()
    }
    layers = {
        f"encoder.layers.{number}.{ours}": under(f"distilbert.transformer.layer.{number}", theirs)
        for number in range(num_layers)
        for ours, theirs in LAYER_NAMES.items()
    }
    return {**embeddings, **layers, **HEAD_NAMES}


def modern(name: str) -> str:
    """Return the name of a parameter with the prefix that encoders without heads lack."""
    return f"distilbert.{name}" if name.startswith(("embeddings.", "transformer.")) else name


def config_to(config: DistilBertConfig, vocab_size: int) -> dict[str, Any]:
    """Return the arguments of `transformers.DistilBertConfig`."""
    return {theirs: getattr(config, ours) for ours, theirs in RENAMED.items()} | {"vocab_size": vocab_size}


def config_from(values: Mapping[str, Any]) -> DistilBertConfig:
    """Return the configuration that corresponds to a complete dictionary of a `transformers.DistilBertConfig`.

    Raises:
        ValueError: a field has a value that this family does not support.
    """
    require_fixed("distilbert", values, FIXED)
    ours = {name: values.get(theirs) for name, theirs in RENAMED.items()}
    return config_from_fields(DistilBertConfig, ours, FIELDS_OF_OURS)


TASK_HEADS = {
    "sequence": TaskHead(
        "DistilBertForSequenceClassification",
        build_classifier,
        new={**with_bias("head.dense", "pre_classifier"), **with_bias("head.out_proj", "classifier")},
    ),
    **shared_heads("DistilBert"),
    "choices": TaskHead(
        "DistilBertForMultipleChoice",
        build_classifier,
        new={**with_bias("head.dense", "pre_classifier"), **with_bias("head.out_proj", "classifier")},
        output="choices",
    ),
}
FINETUNING: dict[str, Settings] = {
    # The reference implementation states none without a fine-tuned teacher; these are those of BERT.
    "": {"optimizer.lr": 2e-5, "training.batch_size": 32, "training.epochs": 3, "training.warmup_proportion": 0.1},
    "squad": {"optimizer.lr": 5e-5, "text.max_length": 384},
}
ALONE = Family(
    name="distilbert",
    config=DistilBertConfig,
    corruption=MaskingConfig,
    template=Template(segments=False),
    samples=("full_sentences", "doc_sentences", "blocks", "chunks"),
    terms=(MASKED,),
    build=build,
    parameters=PARAMETERS,
    word_embeddings=WORD_EMBEDDINGS,
    output_bias=OUTPUT_BIAS,
    layer=LAYER,
    heads=TASK_HEADS,
    finetuning=FINETUNING,
    free_fields=FIELDS_OF_THE_TEACHER,
    export=Export(
        model_class="DistilBertForMaskedLM",
        names=names,
        config_to=config_to,
        config_from=config_from,
        ties={"mlm_head.decoder.weight": WORD_EMBEDDINGS},
        class_ties={"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"},
        ignored=("embeddings.position_ids",),
        modern=modern,
    ),
)
FAMILY = with_students(ALONE)
