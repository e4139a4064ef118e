"""BERT: masked tokens and next-sentence prediction (Devlin et al. 2018; google-research/bert).

It computes the same as `transformers.BertForPreTraining`; with `model.next_sentence = false`, without pooler and
classifier of pairs, the same as `transformers.BertForMaskedLM`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
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
    with_bias,
)
from pipeline.families.encoders import (
    LAYER,
    OUR_OWN_FIELDS,
    OUTPUT_BIAS,
    PARAMETERS,
    WORD_EMBEDDINGS,
    build_pooled_classifier,
    encoder_names,
    shared_heads,
)
from pipeline.families.students import students
from pipeline.model.student_config import FIELDS_OF_THE_TEACHER, StudentConfig
from pipeline.runlog.terms import Term

if TYPE_CHECKING:
    from torch import nn

TEMPLATE = Template()
MASKED = Term("mlm", "masked-token", "masked")
PAIR = Term("nsp", "next-sentence", "samples", classes=2)


@dataclass(frozen=True)
class BertConfig(StudentConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    type_vocab_size: int = 2
    """Number of segment embeddings: one for A, one for B."""
    next_sentence: bool = True
    """Whether pairs of segments are classified, too, by a pooler and a head. Requires pairs (--segments nsp); without
    it, samples of single segments are possible, and the labels of pairs are ignored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.type_vocab_size < 2:
            raise ValueError(
                f"model.type_vocab_size = {self.type_vocab_size}: must be at least 2; sentence pairs have two segments"
            )
        if self.next_sentence:
            self.require_no_teacher("with next-sentence prediction", "model.next_sentence = false")


def build(config: BertConfig, vocab_size: int) -> "nn.Module":
    """Build the model. Initial weights are normally distributed, cut at two standard deviations, as in
    google-research/bert.
    """
    from pipeline.model.pretraining import MaskedLanguageModel

    pair = PAIR if config.next_sentence else None
    return MaskedLanguageModel(config, vocab_size, MASKED, pair, config.type_vocab_size, cut=2.0)


HEAD_NAMES: Names = {
    **with_bias("mlm_head.dense", "cls.predictions.transform.dense"),
    **with_bias("mlm_head.layer_norm", "cls.predictions.transform.LayerNorm"),
    **with_bias("mlm_head.decoder", "cls.predictions.decoder"),
}
PAIR_NAMES: Names = {
    **with_bias("pooler.dense", "bert.pooler.dense"),
    **with_bias("pair_head", "cls.seq_relationship"),
}
SEGMENT_NAMES: Names = {"encoder.embeddings.token_type.weight": ("bert.embeddings.token_type_embeddings.weight",)}
FIELDS_OF_OURS = OUR_OWN_FIELDS | {"next_sentence", *FIELDS_OF_THE_TEACHER}
FIXED = {"model_type": "bert", "tie_word_embeddings": True, "is_decoder": False, "position_embedding_type": "absolute"}


def names(num_layers: int) -> Names:
    """Return, for each parameter, its name or the names of its parts in `transformers.BertForPreTraining`."""
    return {**masked_names(num_layers), **PAIR_NAMES}


def masked_names(num_layers: int) -> Names:
    """Return the same for `transformers.BertForMaskedLM`."""
    return {**encoder_names("bert", num_layers), **SEGMENT_NAMES, **HEAD_NAMES}


def modern(name: str) -> str:
    """Return the present name of a parameter in `transformers`.

    In checkpoints of google-research, weight and bias of a normalisation are called gamma and beta; in those of an
    encoder without heads, names have no prefix.
    """
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(f"LayerNorm{old}"):
            name = name.removesuffix(old) + new
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name


def config_to(config: BertConfig, vocab_size: int) -> dict[str, Any]:
    """Return the arguments of `transformers.BertConfig`, whose fields have the same names."""
    shared = {name: value for name, value in asdict(config).items() if name not in FIELDS_OF_OURS}
    return shared | {"vocab_size": vocab_size}


def config_from(values: Mapping[str, Any]) -> BertConfig:
    """Return the configuration that corresponds to a complete dictionary of a `transformers.BertConfig`.

    Raises:
        ValueError: a field has a value that this family does not support.
    """
    require_fixed("bert", values, FIXED)
    return config_from_fields(BertConfig, values, FIELDS_OF_OURS)


def masked_config_from(values: Mapping[str, Any]) -> BertConfig:
    """Return the same for a model without next-sentence prediction."""
    return replace(config_from(values), next_sentence=False)


PRETRAINING = Export(
    model_class="BertForPreTraining",
    names=names,
    config_to=config_to,
    config_from=config_from,
    ties={"mlm_head.decoder.weight": WORD_EMBEDDINGS},
    class_ties={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.bias": "cls.predictions.decoder.bias",
    },
    ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
    modern=modern,
)
MASKED_LM = replace(
    PRETRAINING,
    model_class="BertForMaskedLM",
    names=masked_names,
    config_from=masked_config_from,
    # Older versions of `transformers` saved the untrained pooler with this class.
    ignored=(*PRETRAINING.ignored, "pooler.dense.weight", "pooler.dense.bias"),
)
TASK_HEADS = {
    "sequence": TaskHead(
        "BertForSequenceClassification",
        build_pooled_classifier,
        new=with_bias("head.classifier", "classifier"),
        pretrained=with_bias("head.pooler.dense", "bert.pooler.dense"),
    ),
    **shared_heads("Bert"),
}
FINETUNING: dict[str, Settings] = {
    # The paper's appendix A.3 selects 16 or 32 examples, a rate of 2e-5, 3e-5 or 5e-5 and 2 to 4 epochs on dev;
    # run_classifier.py and the README of google-research/bert take these.
    "": {"optimizer.lr": 2e-5, "training.batch_size": 32, "training.epochs": 3, "training.warmup_proportion": 0.1},
    # Small training splits: as examples/pytorch/text-classification of transformers.
    "mrpc": {"training.epochs": 5},
    "wnli": {"training.epochs": 5},
    # As examples/pytorch/token-classification of transformers; 5e-5 is the largest rate of appendix A.3.
    "tokens": {"optimizer.lr": 5e-5},
    # Section 4.2 of the paper, and the length of run_squad.py; section 4.3 takes 2 epochs of 48 examples for SQuAD 2.0.
    "squad": {"optimizer.lr": 5e-5, "text.max_length": 384},
    # Section 4.4 of the paper.
    "swag": {"training.batch_size": 16},
}
PAIRS = Family(
    name="bert",
    config=BertConfig,
    corruption=MaskingConfig,
    template=TEMPLATE,
    samples=("nsp",),
    terms=(MASKED, PAIR),
    build=build,
    parameters=PARAMETERS,
    word_embeddings=WORD_EMBEDDINGS,
    output_bias=OUTPUT_BIAS,
    layer=LAYER,
    export=PRETRAINING,
    heads=TASK_HEADS,
    finetuning=FINETUNING,
    free_fields=FIELDS_OF_THE_TEACHER,
    applies=lambda config: config.next_sentence,
    setting="model.next_sentence = true",
)
SINGLE = replace(
    PAIRS,
    samples=("full_sentences", "doc_sentences", "blocks", "chunks", "nsp"),
    terms=(MASKED,),
    export=MASKED_LM,
    applies=lambda config: not config.next_sentence,
    setting="model.next_sentence = false",
)
FAMILY = replace(PAIRS, variants=students(SINGLE))
