"""RoBERTa: masked tokens of single segments, a byte-level vocabulary (Liu et al. 2019, https://arxiv.org/abs/1907.11692).

It computes the same as `transformers.RobertaForMaskedLM`; objective and initial weights are those of fairseq.
Positions begin at 2, behind the id of the padding token, so a model of 514 positions reads 512 tokens.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.data.config import MaskRate
from pipeline.data.template import Template
from pipeline.families.base import (
    Export,
    Family,
    Names,
    Settings,
    TaskHead,
    Tensors,
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
    encoder_names,
    shared_heads,
)
from pipeline.families.students import with_students
from pipeline.model.config import EncoderConfig
from pipeline.model.student_config import FIELDS_OF_THE_TEACHER, StudentConfig
from pipeline.runlog.terms import Term

if TYPE_CHECKING:  # recipes and help texts do not need them, so that functions that compute import them
    from torch import nn

    from pipeline.data.masking import Corrupted, Draw
    from pipeline.data.packing import Int64Array, Packed
    from pipeline.data.special_tokens import SpecialTokens

PAD_ID = 1
TEMPLATE = Template(
    pair=("cls", "A", "sep", "sep", "B", "sep"), segments=False, first_position=PAD_ID + 1, pad_id=PAD_ID
)
MASKED = Term("mlm", "masked-token", "masked")


@dataclass(frozen=True)
class RobertaConfig(StudentConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    max_position_embeddings: int = 514
    """Number of positions: the longest sequence in tokens, special tokens included, plus 2, because positions begin at
    2."""
    layer_norm_eps: float = 1e-5
    """Added to the variance in layer normalisation."""


@dataclass(frozen=True)
class RobertaMasking(MaskRate):
    """Expected fraction of the masked tokens over the run, what replaces them, and how often the masks change.

    Source: mask_tokens_dataset.py of fairseq.
    """

    def counts(self, lengths: "Int64Array", draw: "Draw") -> "Int64Array":
        """Return (B,) floor(length * probability + u) with u uniform in [0, 1), so that the expectation is exact."""
        import numpy as np

        from pipeline.data.hashing import Purpose

        uniform = (draw.keys(Purpose.MASK_COUNT, self.duplicates) >> np.uint64(11)) * 2.0**-53  # (B,) in [0, 1)
        return np.floor(lengths * self.probability + uniform).astype(np.int64)

    def apply(self, packed: "Packed", counts: "Int64Array", draw: "Draw", special: "SpecialTokens") -> "Corrupted":
        """Mask tokens of the whole sample, special tokens included; a random token is never a special one."""
        import numpy as np

        from pipeline.data.hashing import Purpose
        from pipeline.data.masking import choose_tokens, replace_tokens

        everywhere = np.ones_like(packed.is_text)
        keys = draw.keys(Purpose.MASKED_POSITION, self.duplicates)
        positions = choose_tokens(everywhere, packed.cu_seqlens, counts, keys)
        words = np.flatnonzero(~special.is_special)
        return replace_tokens(packed, positions, counts, draw, self.duplicates, special, words, self.mask_only)


def build(config: RobertaConfig, vocab_size: int) -> "nn.Module":
    """Build the model. Initial weights are normally distributed, as in fairseq."""
    from pipeline.model.pretraining import MaskedLanguageModel

    return MaskedLanguageModel(config, vocab_size, MASKED)


def build_classifier(config: EncoderConfig, outputs: int) -> "nn.Module":
    """Build the classifier of texts."""
    from pipeline.model.task_heads import DenseClassifier

    return DenseClassifier(config.hidden_size, outputs, config.hidden_dropout_prob)


HEAD_NAMES: Names = {
    **with_bias("mlm_head.dense", "lm_head.dense"),
    **with_bias("mlm_head.layer_norm", "lm_head.layer_norm"),
    **with_bias("mlm_head.decoder", "lm_head.decoder"),
}
POSITIONS = "roberta.embeddings.position_embeddings.weight"
SEGMENTS = "roberta.embeddings.token_type_embeddings.weight"
FIELDS_OF_OURS = OUR_OWN_FIELDS | {*FIELDS_OF_THE_TEACHER}
FIXED = {
    "model_type": "roberta",
    "tie_word_embeddings": True,
    "is_decoder": False,
    "position_embedding_type": "absolute",
    "type_vocab_size": 1,
    "pad_token_id": PAD_ID,
    "hidden_act": "gelu",  # the only activation of the head
}


def names(num_layers: int) -> Names:
    """Return, for each parameter, its name or the names of its parts in `transformers.RobertaForMaskedLM`."""
    return {**encoder_names("roberta", num_layers), **HEAD_NAMES}


def modern(name: str) -> str:
    """Return the name of a parameter with the prefix that encoders without heads lack."""
    return f"roberta.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name


def leaving(tensors: Tensors) -> Tensors:
    """Add the only segment embedding of the class, which fairseq does not have, as zeros."""
    positions = tensors[POSITIONS]
    return {**tensors, SEGMENTS: positions.new_zeros(1, positions.shape[1])}


def arriving(tensors: Tensors) -> Tensors:
    """Add the only segment embedding, which applies to every token, to the embeddings of all positions."""
    kept = {name: value for name, value in tensors.items() if name != SEGMENTS}
    if SEGMENTS in tensors and POSITIONS in kept:
        kept[POSITIONS] = kept[POSITIONS] + tensors[SEGMENTS][:1]
    return kept


def config_to(config: RobertaConfig, vocab_size: int) -> dict[str, Any]:
    """Return the arguments of `transformers.RobertaConfig`, whose fields have the same names."""
    shared = {name: value for name, value in asdict(config).items() if name not in FIELDS_OF_OURS}
    return shared | {"vocab_size": vocab_size, "type_vocab_size": 1}


def config_from(values: Mapping[str, Any]) -> RobertaConfig:
    """Return the configuration that corresponds to a complete dictionary of a `transformers.RobertaConfig`.

    Raises:
        ValueError: a field has a value that this family does not support.
    """
    require_fixed("roberta", values, FIXED)
    return config_from_fields(RobertaConfig, values, FIELDS_OF_OURS)


TASK_HEADS = {
    "sequence": TaskHead(
        "RobertaForSequenceClassification",
        build_classifier,
        new={**with_bias("head.dense", "classifier.dense"), **with_bias("head.out_proj", "classifier.out_proj")},
    ),
    **shared_heads("Roberta"),
}
# fairseq, examples/roberta/config/finetuning/*.yaml: ten epochs, of which 6 % (QQP: 25 %) are warm-up.
_SMALL = {"training.batch_size": 16}
_SMALL_FASTER = _SMALL | {"optimizer.lr": 2e-5}
FINETUNING: dict[str, Settings] = {
    "": {
        "optimizer.lr": 1e-5,
        "optimizer.beta2": 0.98,
        "optimizer.weight_decay": 0.1,
        "training.batch_size": 32,
        "training.epochs": 10,
        "training.warmup_proportion": 0.06,
    },
    "cola": _SMALL,
    "mrpc": _SMALL,
    "rte": _SMALL_FASTER,
    "stsb": _SMALL_FASTER,
    "qqp": {"training.warmup_proportion": 0.25},
    # Table 10 of Liu et al. 2019, https://arxiv.org/abs/1907.11692; the length is that of the paper of BERT.
    "squad": {
        "optimizer.lr": 1.5e-5,
        "optimizer.weight_decay": 0.01,
        "training.batch_size": 48,
        "training.epochs": 2,
        "text.max_length": 384,
    },
    # As RACE, the multiple choice in table 10.
    "swag": {"training.batch_size": 16, "training.epochs": 4},
}
ALONE = Family(
    name="roberta",
    config=RobertaConfig,
    corruption=RobertaMasking,
    template=TEMPLATE,
    samples=("full_sentences", "doc_sentences"),
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
        model_class="RobertaForMaskedLM",
        names=names,
        config_to=config_to,
        config_from=config_from,
        ties={"mlm_head.decoder.weight": WORD_EMBEDDINGS},
        class_ties={
            "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
            "lm_head.bias": "lm_head.decoder.bias",
        },
        # Buffers, and the pooler, which RoBERTa does not pre-train.
        ignored=("embeddings.position_ids", "embeddings.token_type_ids", "pooler.dense.weight", "pooler.dense.bias"),
        modern=modern,
        leaving=leaving,
        arriving=arriving,
    ),
)
FAMILY = with_students(ALONE)
