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

from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.data.template import Template
from pipeline.families import replaced
from pipeline.families.base import Family, Output, Part, Settings, TaskHead, with_bias
from pipeline.families.deberta.config import DebertaConfig, DebertaMasking
from pipeline.families.deberta.export import (
    DECODER_EXPORT,
    DIFFERENCE,
    DISCRIMINATOR_EXPORT,
    GENERATOR_EMBEDDINGS,
    PLAIN_EXPORT,
    SAVED_DIFFERENCE,
    added_up,
    subtracted,
)
from pipeline.families.encoders import LAYER, OUR_OWN_FIELDS, OUTPUT_BIAS, WORD_EMBEDDINGS, shared_heads
from pipeline.families.students import students, with_students
from pipeline.model.config import EncoderConfig
from pipeline.model.student_config import FIELDS_OF_THE_TEACHER
from pipeline.runlog.terms import Term

if TYPE_CHECKING:  # recipes and help texts do not need them, so that functions that compute import them
    from torch import nn

MASKED = Term("mlm", "masked-token", "masked")
REPLACED = Term("rtd", "replaced-token", "tokens", weight=50.0)


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


IN_GENERATOR = {"generator.": "encoder.", "generator_head.": "mlm_head.", "mask_decoder.": "mask_decoder."}
"""Prefixes of names in the whole model -> prefixes in the generator alone."""


def joined(configs: tuple[DebertaConfig, ...]) -> DebertaConfig:
    """Return the configuration whose encoder and generator have given configurations.

    Raises:
        ValueError: the generator is not a copy of the encoder with half as many layers.
    """
    config = replace(configs[0], objective="replaced")
    beside = f"num_hidden_layers = {config.num_hidden_layers}"
    replaced.require_generator(config.generator, configs[1], OUR_OWN_FIELDS, beside)
    return config


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
    # warm-up steps; here they are shares of the steps.
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
    # There are none for SQuAD; the length is that of the paper of BERT.
    "squad": {"text.max_length": 384},
}
# The same scripts: mnli.sh for deberta-v3-large, and cola.sh and qqp.sh for large.
FINETUNING_LARGE: dict[str, Settings] = {
    "": {"optimizer.lr": 7e-6},
    "mnli": {"training.epochs": 2},
    "qqp": {"optimizer.lr": 1e-5},
}
DECODED = Family(
    name="deberta",
    config=DebertaConfig,
    corruption=DebertaMasking,
    template=Template(segments=False),
    samples=("full_sentences", "doc_sentences", "blocks", "chunks"),
    terms=(MASKED,),
    build=build,
    parameters=replaced.PARAMETERS,
    word_embeddings=WORD_EMBEDDINGS,
    output_bias=OUTPUT_BIAS,
    layer=LAYER,
    export=DECODER_EXPORT,
    heads=TASK_HEADS,
    finetuning=FINETUNING,
    finetuning_large=FINETUNING_LARGE,
    free_fields=FIELDS_OF_THE_TEACHER,
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
        Part("", replace(WHOLE, build=build_discriminator, terms=(REPLACED,)), replaced.in_discriminator),
        Part(
            "generator",
            DECODED,
            lambda name: replaced.in_generator(name, IN_GENERATOR),
            lambda config: config.generator,
        ),
    ),
    joined=joined,
    divided=added_up,
    united=subtracted,
    carried={DIFFERENCE: SAVED_DIFFERENCE},
    further_embeddings=(GENERATOR_EMBEDDINGS,),
)
FAMILY = with_students(replace(DECODED, variants=(*students(PLAIN), REPLACING)))
