"""DistilBERT: a student with fewer layers learns masked tokens and the outputs of a teacher (Sanh et al. 2019,
https://arxiv.org/abs/1910.01108; distillation/ of huggingface/transformers-research-projects).

It computes the same as `transformers.DistilBertForMaskedLM`: BERT without segment embeddings and pooler. Without
`model.teacher` it trains on masked tokens alone.

Three things differ from the reference implementation. Soft targets are those of masked tokens, which its option
restrict_ce_to_mask selects. Each sample has a number of masked tokens that follows from its length (law 3), and rare
tokens are not masked more often. Position embeddings are learnt, as in the released models' configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.config import MaskingConfig
from pipeline.data.template import Template
from pipeline.families import teachers
from pipeline.families.base import (
    Auxiliary,
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
from pipeline.model.config import EncoderConfig
from pipeline.runlog.terms import Term

if TYPE_CHECKING:
    from torch import nn

    from pipeline.model.distilled import DistilledModel
    from preprocessing.shards import SampleDataset

ALONE = Term("mlm", "masked-token", "masked")
MASKED = replace(ALONE, weight=2.0)
SOFT = Term("soft", "soft-target", "masked", weight=5.0, counted=False)
STATES = Term("cos", "hidden-state", "tokens", counted=False, unit="cosine distance")
"""Weights: README of the reference implementation."""
EPSILON = 1e-12
"""Added to the variance in layer normalisation by the classes of `transformers`."""


@dataclass(frozen=True)
class DistilBertConfig(EncoderConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    teacher: str = ""
    """Checkpoint of the teacher, or a run whose newest checkpoint is the teacher: a model of any family that
    predicts masked tokens, trained or imported here, with the vocabulary of the samples. Empty: masked tokens alone."""
    teacher_sha256: str = ""
    """Checksum of the manifest.json of the teacher's checkpoint; empty: recorded by the run. A run that resumes
    requires the same teacher."""
    temperature: float = 2.0
    """Divisor of the logits of teacher and student in the soft targets (DistilBERT: 2)."""
    compare_hidden_states: bool = True
    """Whether the student also learns the hidden states of the teacher's last layer, which requires equal widths."""
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
        if not self.temperature > 0:
            raise ValueError(f"model.temperature = {self.temperature}: must be above 0 (DistilBERT: 2)")
        if self.teacher_sha256 and not self.teacher:
            raise ValueError(f"model.teacher_sha256 = {self.teacher_sha256}: requires model.teacher; remove it")
        copies = self.teacher and self.initialize_from_teacher
        for name, usual in (("initialization", "normal"), ("output_bias", "zero")):
            if copies and getattr(self, name) != usual:
                raise ValueError(
                    f"model.{name} = {getattr(self, name)}: the initial weights are the teacher's; set it to {usual}, "
                    "or model.initialize_from_teacher to false"
                )


def build(config: DistilBertConfig, vocab_size: int) -> "nn.Module":
    """Build the student without its teacher. Initial weights are normally distributed, cut at two standard deviations,
    as in BERT.
    """
    from pipeline.model.distilled import DistilledModel

    terms = (MASKED, SOFT, STATES) if config.compare_hidden_states else (MASKED, SOFT)
    return DistilledModel(config, vocab_size, ALONE, terms, cut=2.0)


def completed(config: DistilBertConfig, train: "SampleDataset") -> DistilBertConfig:
    """Return the configuration with the checksum of its teacher, which has been verified and compared with the samples.

    Raises:
        ValueError: the teacher cannot be read, does not fit the student or the samples, or has another checksum.
    """
    if not config.teacher:
        return config
    found = _teacher(config)
    teachers.check(found, config, FAMILY, train)
    if config.compare_hidden_states:
        teachers.check_widths(found, config)
    if config.initialize_from_teacher:
        teachers.check_copies(found, config)
    return replace(config, teacher_sha256=found.sha256)


def prepare(model: "nn.Module", config: DistilBertConfig) -> None:
    """Give a new student its teacher and, if the configuration says so, initial weights of it.

    Raises:
        ValueError: the teacher is another one than `completed` has found.
    """
    if not config.teacher:
        return
    found = _teacher(config)
    teacher = teachers.load(found)
    if config.initialize_from_teacher:
        teachers.begin_with(_student(model), teacher, found.first_position)
    _attach(model, teacher, found.first_position, config.temperature)


def auxiliary(config: DistilBertConfig) -> Auxiliary[DistilBertConfig]:
    """Return the shape of the teacher. One that does not exist yet is assumed to have the student's sizes and twice as
    many layers, as in the paper.

    Raises:
        ValueError: the teacher cannot be read, or does not fit the student.
    """
    if Path(config.teacher).exists():
        found, assumed = _teacher(config), ""
        teachers.check_fit(found, config, FAMILY)
        if config.compare_hidden_states:
            teachers.check_widths(found, config)
    else:
        shape = replace(config, num_hidden_layers=2 * config.num_hidden_layers, teacher="", teacher_sha256="")
        found = teachers.Found(Path(config.teacher), FAMILY, shape, 0, "")
        assumed = (
            f"{teachers.FIELD} = {config.teacher} does not exist yet; assumed: {shape.num_hidden_layers} layers of the "
            "student's sizes"
        )
    return Auxiliary(
        lambda student, vocab_size: found.family.build(teachers.computing(found.config, student), vocab_size),
        lambda model, teacher: _attach(model, teacher, found.first_position, config.temperature),
        "teacher",
        assumed,
    )


def _attach(model: "nn.Module", teacher: "nn.Module", first_position: int, temperature: float) -> None:
    from pipeline.model.distilled import Teacher
    from pipeline.model.pretraining import MaskedTokenModel

    assert isinstance(teacher, MaskedTokenModel), "`teachers.find` takes no other"
    _student(model).teacher = Teacher(teacher, first_position, temperature)


def _student(model: "nn.Module") -> "DistilledModel":
    from pipeline.model.distilled import DistilledModel

    assert isinstance(model, DistilledModel), "a model of this family"
    return model


def _teacher(config: DistilBertConfig) -> teachers.Found:
    found = teachers.find(config.teacher, config)
    if config.teacher_sha256 not in ("", found.sha256):
        raise ValueError(
            f"model.teacher_sha256 = {config.teacher_sha256}: {found.directory} has {found.sha256}, so that it is "
            "another teacher; name the former checkpoint"
        )
    return found


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
FIELDS_OF_THE_TEACHER = (
    "teacher",
    "teacher_sha256",
    "temperature",
    "compare_hidden_states",
    "initialize_from_teacher",
)
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
STUDENT_ALONE = Family(
    name="distilbert",
    config=DistilBertConfig,
    corruption=MaskingConfig,
    template=Template(segments=False),
    samples=("full_sentences", "doc_sentences", "blocks", "chunks"),
    terms=(ALONE,),
    build=build,
    parameters=PARAMETERS,
    word_embeddings=WORD_EMBEDDINGS,
    output_bias=OUTPUT_BIAS,
    layer=LAYER,
    heads=TASK_HEADS,
    finetuning=FINETUNING,
    completed=completed,
    prepare=prepare,
    free_fields=FIELDS_OF_THE_TEACHER,
    applies=lambda config: not config.teacher,
    setting="an empty model.teacher",
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
TAUGHT = replace(
    STUDENT_ALONE,
    terms=(MASKED, SOFT, STATES),
    auxiliary=auxiliary,
    files=("teacher",),
    applies=lambda config: bool(config.teacher) and config.compare_hidden_states,
    setting="model.teacher",
)
TAUGHT_TOKENS = replace(
    TAUGHT,
    terms=(MASKED, SOFT),
    applies=lambda config: bool(config.teacher) and not config.compare_hidden_states,
    setting="model.compare_hidden_states = false",
)
FAMILY = replace(STUDENT_ALONE, variants=(TAUGHT, TAUGHT_TOKENS))
