"""ModernBERT: masked tokens, and an encoder with rotary positions, GeGLU, and local attention in two of three layers
(Warner et al. 2024, https://arxiv.org/abs/2412.13663; AnswerDotAI/ModernBERT).

It computes the same as `transformers.ModernBertForMaskedLM`. Differences in training:

- A sample has an exact number of masked tokens, none of them special; the reference implementation draws each token
  (src/sequence_packer.py, mlm_masking). 80 % become the mask token, 10 % a random one and 10 % stay in both.
- Dropout of a feed-forward network is applied to its output; that of `transformers` to the input of its second product.
  The published models have none.
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
    Output,
    Settings,
    TaskHead,
    config_from_fields,
    require_fixed,
    with_bias,
)
from pipeline.families.encoders import LAYER, OUR_OWN_FIELDS, OUTPUT_BIAS, WORD_EMBEDDINGS, decays, is_matrix
from pipeline.families.students import with_students
from pipeline.model.config import EncoderConfig, RotaryConfig
from pipeline.model.student_config import FIELDS_OF_THE_TEACHER, StudentConfig
from pipeline.optim.parameters import Parameters
from pipeline.runlog.terms import Term

if TYPE_CHECKING:
    from torch import nn

MASKED = Term("mlm", "masked-token", "masked")


@dataclass(frozen=True)
class ModernBertConfig(RotaryConfig, StudentConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""


@dataclass(frozen=True)
class ModernBertMasking(MaskingConfig):
    """Number of masked tokens, the unit of masking, what replaces the tokens, and how often the masks change."""

    probability: float = 0.3
    """Fraction of a sample's tokens, special tokens included, that are masked; above 0, at most 0.5. With
    probability_start it is the fraction at the end of the run."""
    max_predictions: int = 0
    """Upper bound on the masked tokens of a sample; 0: no upper bound."""


def build(config: ModernBertConfig, vocab_size: int) -> "nn.Module":
    """Build the model. Initial weights are those of Megatron-LM, cut at two standard deviations, as in the released
    configuration (initializer_cutoff_factor).
    """
    from pipeline.model.rotary_pretraining import MaskedRotaryModel

    return MaskedRotaryModel(config, vocab_size, MASKED, cut=2.0)


def build_text_classifier(config: EncoderConfig, outputs: int) -> "nn.Module":
    """Build the classifier of texts."""
    from pipeline.model.task_heads import NormalizedClassifier

    return NormalizedClassifier(config, outputs, pools=True)


def build_token_classifier(config: EncoderConfig, outputs: int) -> "nn.Module":
    """Build the classifier of tokens."""
    from pipeline.model.task_heads import NormalizedClassifier

    return NormalizedClassifier(config, outputs, pools=False)


def stacks(name: str) -> int:
    """Return the number of projections that a parameter stacks: query, key and value, or the two halves of GeGLU."""
    return 3 if ".qkv." in name else 2 if ".intermediate." in name else 1


LAYER_NAMES = {
    "attention_layer_norm": "attn_norm",
    "qkv": "attn.Wqkv",
    "attention_output": "attn.Wo",
    "output_layer_norm": "mlp_norm",
    "intermediate": "mlp.Wi",
    "output": "mlp.Wo",
}
ENCODER_NAMES: Names = {
    WORD_EMBEDDINGS: ("model.embeddings.tok_embeddings.weight",),
    "encoder.embeddings.layer_norm.weight": ("model.embeddings.norm.weight",),
    "encoder.final_layer_norm.weight": ("model.final_norm.weight",),
}
HEAD_NAMES: Names = {
    "mlm_head.dense.weight": ("head.dense.weight",),
    "mlm_head.layer_norm.weight": ("head.norm.weight",),
    **with_bias("mlm_head.decoder", "decoder"),
}
RENAMED = {
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "max_position_embeddings": "max_position_embeddings",
    "hidden_act": "hidden_activation",
    "hidden_dropout_prob": "mlp_dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "layer_norm_eps": "norm_eps",
    "initializer_range": "initializer_range",
    "local_attention": "local_attention",
}
"""Fields here -> fields of `transformers.ModernBertConfig`."""
ROTARY = {"global_rope_theta": "full_attention", "local_rope_theta": "sliding_attention"}
"""Bases of the rotary positions here -> kinds of attention there."""
PERIOD = "global_attn_every_n_layers"
FIELDS_OF_OURS = OUR_OWN_FIELDS | {"attention_output_dropout_prob", *FIELDS_OF_THE_TEACHER}
FIXED = {
    "model_type": "modernbert",
    "tie_word_embeddings": True,
    "norm_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
    "classifier_bias": False,
    "decoder_bias": True,
}
POOLED = ("ModernBertForSequenceClassification", "ModernBertForMultipleChoice")
"""Classes that classify the first token, or with another `classifier_pooling` something else."""


def names(num_layers: int) -> Names:
    """Return, for each parameter, its name in `transformers.ModernBertForMaskedLM`."""
    layers = {
        f"encoder.layers.{number}.{ours}.weight": (f"model.layers.{number}.{theirs}.weight",)
        for number in range(num_layers)
        for ours, theirs in LAYER_NAMES.items()
        if number or ours != "attention_layer_norm"  # the first attention has none
    }
    return {**ENCODER_NAMES, **layers, **HEAD_NAMES}


def modern(name: str) -> str:
    """Return the name of a parameter with the prefix that encoders without heads lack."""
    return f"model.{name}" if name.startswith(("embeddings.", "layers.", "final_norm.")) else name


def attention_types(num_layers: int, period: int) -> list[str]:
    """Return the kind of attention of each layer, as `transformers` names it."""
    kinds = ROTARY["local_rope_theta"], ROTARY["global_rope_theta"]
    return [kinds[number % period == 0] for number in range(num_layers)]


def config_to(config: ModernBertConfig, vocab_size: int) -> dict[str, Any]:
    """Return the arguments of `transformers.ModernBertConfig`.

    Classifiers take the first token. Numbers of special tokens but that of the padding are the tokenizer's alone.
    """
    return {
        **{theirs: getattr(config, ours) for ours, theirs in RENAMED.items()},
        "embedding_dropout": config.hidden_dropout_prob,
        "classifier_dropout": config.hidden_dropout_prob,
        "classifier_activation": config.hidden_act,
        "classifier_pooling": "cls",
        "layer_types": attention_types(config.num_hidden_layers, config.global_attn_every_n_layers),
        "rope_parameters": {
            theirs: {"rope_type": "default", "rope_theta": getattr(config, ours)} for ours, theirs in ROTARY.items()
        },
        "vocab_size": vocab_size,
        **{f"{name}_token_id": None for name in ("pad", "bos", "eos", "cls", "sep")},
    }


def config_from(values: Mapping[str, Any]) -> ModernBertConfig:
    """Return the configuration that corresponds to a complete dictionary of a `transformers.ModernBertConfig`.

    Files before version 5 have `global_attn_every_n_layers`, `global_rope_theta` and `local_rope_theta` in place of
    `layer_types` and `rope_parameters`, which such a dictionary then has with their defaults.

    Raises:
        ValueError: a field has a value that this family does not support.
    """
    require_fixed("modernbert", values, FIXED)
    same = {"classifier_activation": "hidden_activation", "embedding_dropout": "mlp_dropout"}
    for name, other in same.items():
        if values.get(name) != values.get(other):
            raise ValueError(
                f"config.json: {name} = {values.get(name)!r}: the modernbert family has one value for it and {other} = "
                f"{values.get(other)!r}"
            )
    pooling = values.get("classifier_pooling", "cls")
    if pooling != "cls" and set(POOLED) & set(values.get("architectures") or ()):
        raise ValueError(
            f"config.json: classifier_pooling = {pooling!r}: the modernbert family classifies texts by their first "
            "token ('cls'); take a model that was not fine-tuned"
        )
    ours = {name: values.get(theirs) for name, theirs in RENAMED.items()}
    ours |= {name: _theta(values, name) for name in ROTARY}
    return config_from_fields(ModernBertConfig, {**ours, PERIOD: _period(values)}, FIELDS_OF_OURS)


def _theta(values: Mapping[str, Any], name: str) -> Any:
    """Return the base of the rotary positions of a kind of attention."""
    found = (values.get("rope_parameters") or {}).get(ROTARY[name])
    theta = found.get("rope_theta") if isinstance(found, dict) else None
    if not isinstance(found, dict) or found.keys() - {"rope_type", "rope_theta"} or found.get("rope_type") != "default":
        raise ValueError(
            f"config.json: rope_parameters: {ROTARY[name]} = {found!r}: must have rope_theta, and the rope_type "
            "'default', the only one that the modernbert family computes"
        )
    # The defaults of the fields are those of the class in `transformers`.
    return values.get(name, theta) if theta == getattr(ModernBertConfig, name) else theta


def _period(values: Mapping[str, Any]) -> Any:
    """Return the period of the layers with global attention."""
    layers, kinds, given = values.get("num_hidden_layers"), values.get("layer_types"), values.get(PERIOD)
    usual = ModernBertConfig.global_attn_every_n_layers
    if not isinstance(layers, int) or not isinstance(kinds, list) or (given is not None and not isinstance(given, int)):
        raise ValueError(f"config.json: layer_types = {kinds!r}: must be a list, and num_hidden_layers its length")
    if kinds == attention_types(len(kinds), usual) and given is not None:
        return given
    if len(kinds) != layers:  # the default of another number of layers
        return usual
    fitting = [period for period in range(1, layers + 1) if attention_types(layers, period) == kinds]
    if not fitting:
        raise ValueError(
            f"config.json: layer_types = {kinds!r}: the modernbert family has full_attention in the first layer and "
            "every n-th one behind it, and sliding_attention in the others"
        )
    return fitting[-1]


EXPORT = Export(
    model_class="ModernBertForMaskedLM",
    names=names,
    config_to=config_to,
    config_from=config_from,
    ties={"mlm_head.decoder.weight": WORD_EMBEDDINGS},
    class_ties={"decoder.weight": "model.embeddings.tok_embeddings.weight"},
    modern=modern,
)
CLASSIFIERS: tuple[tuple[str, str, Output], ...] = (
    ("sequence", "SequenceClassification", "sequences"),
    ("tokens", "TokenClassification", "tokens"),
    ("spans", "QuestionAnswering", "spans"),
    ("choices", "MultipleChoice", "choices"),
)
TASK_HEADS = {
    name: TaskHead(
        f"ModernBertFor{kind}",
        build_text_classifier if f"ModernBertFor{kind}" in POOLED else build_token_classifier,
        new=with_bias("head.classifier", "classifier"),
        pretrained={"head.dense.weight": ("head.dense.weight",), "head.layer_norm.weight": ("head.norm.weight",)},
        output=output,
    )
    for name, kind, output in CLASSIFIERS
}
FINETUNING: dict[str, Settings] = {
    # examples/finetune_modernbert_on_glue.ipynb of AnswerDotAI/ModernBERT.
    "": {
        "optimizer.lr": 8e-5,
        "optimizer.beta2": 0.98,
        "optimizer.weight_decay": 8e-6,
        "training.batch_size": 32,
        "training.epochs": 2,
        "training.warmup_proportion": 0.0,
        "training.dropout": 0.0,
    },
    # There are none for SQuAD; the length is that of the paper of BERT.
    "squad": {"text.max_length": 384},
}
ALONE = Family(
    name="modernbert",
    config=ModernBertConfig,
    corruption=ModernBertMasking,
    template=Template(segments=False),
    samples=("blocks", "full_sentences", "doc_sentences", "chunks"),
    terms=(MASKED,),
    build=build,
    parameters=Parameters(decays, stacks, is_matrix),
    word_embeddings=WORD_EMBEDDINGS,
    output_bias=OUTPUT_BIAS,
    layer=LAYER,
    export=EXPORT,
    heads=TASK_HEADS,
    finetuning=FINETUNING,
    free_fields=("attention_output_dropout_prob", "global_rope_theta", *FIELDS_OF_THE_TEACHER),
)
FAMILY = with_students(ALONE)
