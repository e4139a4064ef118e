"""ELECTRA: a generator proposes tokens, and the encoder detects those that were replaced (Clark et al. 2020,
https://arxiv.org/abs/2003.10555; google-research/electra).

The encoder, which is fine-tuned, computes the same as `transformers.ElectraForPreTraining`, and the generator the same
as `transformers.ElectraForMaskedLM`. They share the embeddings.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.data.config import BoundedMasking
from pipeline.data.template import Template
from pipeline.families import replaced
from pipeline.families.base import (
    Export,
    Family,
    Names,
    Part,
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
    WORD_EMBEDDINGS,
    encoder_names,
    shared_heads,
)
from pipeline.model.config import EncoderConfig
from pipeline.runlog.terms import Term

if TYPE_CHECKING:  # recipes and help texts do not need them, so that functions that compute import them
    from torch import nn

    from pipeline.data.masking import Corrupted, Draw
    from pipeline.data.packing import Int64Array, Packed
    from pipeline.data.special_tokens import SpecialTokens

MASKED = Term("mlm", "masked-token", "masked")
REPLACED = Term("rtd", "replaced-token", "tokens", weight=50.0)
HIDDEN_SHARE = 0.85
"""Probability that the generator sees the mask token in place of a chosen token."""


@dataclass(frozen=True)
class ElectraConfig(EncoderConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    embedding_size: int = 128
    """Width of the embeddings, in features; a projection follows them where hidden_size differs."""
    type_vocab_size: int = 2
    """Number of segment embeddings: one for A, one for B."""
    generator_fraction: float = 0.25
    """Width of the generator, in features of a layer and of its feed-forward network, as a fraction of the encoder's;
    its heads are as wide as the encoder's, and it has as many layers (ELECTRA: small and large 0.25, base 1/3)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.type_vocab_size < 2:
            raise ValueError(
                f"model.type_vocab_size = {self.type_vocab_size}: must be at least 2; samples may have two segments"
            )
        if self.hidden_act != "gelu":
            raise ValueError(
                f"model.hidden_act = {self.hidden_act}: must be gelu, the only activation of the generator's head in "
                "transformers"
            )
        if not 0 < self.generator_fraction <= 1 or min(self._generator_widths) < 1:
            raise ValueError(
                f"model.generator_fraction = {self.generator_fraction}: must be above 0 and at most 1, and give the "
                "generator at least one feature"
            )

    @property
    def embedding_width(self) -> int:
        """Width of the embeddings, in features."""
        return self.embedding_size

    @property
    def _generator_widths(self) -> tuple[int, int]:
        return round(self.hidden_size * self.generator_fraction), round(
            self.intermediate_size * self.generator_fraction
        )

    @property
    def generator(self) -> "ElectraConfig":
        """Configuration of the generator, as an encoder.

        The number of heads is the largest divisor of the width that leaves them as wide as the encoder's or wider.
        """
        hidden, intermediate = self._generator_widths
        most = max(1, hidden // (self.hidden_size // self.num_attention_heads))
        heads = next(number for number in range(most, 0, -1) if hidden % number == 0)
        sizes: dict[str, Any] = {
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "num_attention_heads": heads,
        }
        return replace(self, **sizes, generator_fraction=1.0)


@dataclass(frozen=True)
class ElectraMasking(BoundedMasking):
    """Number of masked tokens, what the generator sees in their place, and how often the masks change.

    Source: pretrain_helpers.py of google-research/electra, which may choose a token several times; here each is chosen
    once.
    """

    mask_only_above: float = 0.5
    """Fraction above which the generator sees the mask token in place of every chosen token. At this fraction and
    below, it sees the mask token in place of 85 % of them, and 15 % stay. 0: always the mask token."""

    def apply(self, packed: "Packed", counts: "Int64Array", draw: "Draw", special: "SpecialTokens") -> "Corrupted":
        """Mask text tokens of each sample, drawn without replacement."""
        from pipeline.data.hashing import Purpose
        from pipeline.data.masking import choose_tokens, hide_tokens

        keys = draw.keys(Purpose.MASKED_POSITION, self.duplicates)
        positions = choose_tokens(packed.is_text, packed.cu_seqlens, counts, keys)
        share = 1.0 if self.mask_only else HIDDEN_SHARE
        return hide_tokens(packed, positions, counts, draw, self.duplicates, special, share)


def build(config: ElectraConfig, vocab_size: int) -> "nn.Module":
    """Build the model. Initial weights are normally distributed, cut at two standard deviations, as in
    google-research/electra.
    """
    from pipeline.model.replaced import ReplacedTokenModel

    return ReplacedTokenModel(config, config.generator, vocab_size, MASKED, REPLACED, config.type_vocab_size, cut=2.0)


def build_discriminator(config: ElectraConfig, vocab_size: int) -> "nn.Module":
    """Build the encoder with its head, without the generator."""
    from pipeline.model.replaced import Discriminator

    return Discriminator(config, vocab_size, config.type_vocab_size)


def build_generator(config: ElectraConfig, vocab_size: int) -> "nn.Module":
    """Build a generator of this configuration with embeddings of its own."""
    from pipeline.model.pretraining import MaskedLanguageModel

    return MaskedLanguageModel(config, vocab_size, MASKED, num_segments=config.type_vocab_size, cut=2.0)


def build_classifier(config: EncoderConfig, outputs: int) -> "nn.Module":
    """Build the classifier of texts."""
    from torch.nn.functional import gelu

    from pipeline.model.task_heads import DenseClassifier

    return DenseClassifier(config.hidden_size, outputs, config.hidden_dropout_prob, gelu)


SEGMENT_NAMES: Names = {"encoder.embeddings.token_type.weight": ("electra.embeddings.token_type_embeddings.weight",)}
PROJECTION_NAMES: Names = with_bias("encoder.projection", "electra.embeddings_project")
DETECTION_NAMES: Names = {
    **with_bias("detection_head.dense", "discriminator_predictions.dense"),
    **with_bias("detection_head.prediction", "discriminator_predictions.dense_prediction"),
}
MASKED_NAMES: Names = {
    **with_bias("mlm_head.dense", "generator_predictions.dense"),
    **with_bias("mlm_head.layer_norm", "generator_predictions.LayerNorm"),
    **with_bias("mlm_head.decoder", "generator_lm_head"),
}
FIELDS_OF_OURS = OUR_OWN_FIELDS | {"generator_fraction"}
FIXED = {
    "model_type": "electra",
    "tie_word_embeddings": True,
    "is_decoder": False,
    "position_embedding_type": "absolute",
    "hidden_act": "gelu",  # the only activation of the generator's head
}


def names(num_layers: int) -> Names:
    """Return, for each parameter, its name or the names of its parts in `transformers.ElectraForPreTraining`."""
    return {**encoder_names("electra", num_layers), **SEGMENT_NAMES, **PROJECTION_NAMES, **DETECTION_NAMES}


def generator_names(num_layers: int) -> Names:
    """Return the same for a generator with embeddings of its own and `transformers.ElectraForMaskedLM`."""
    return {**encoder_names("electra", num_layers), **SEGMENT_NAMES, **PROJECTION_NAMES, **MASKED_NAMES}


IN_GENERATOR = {"encoder.embeddings.": "encoder.embeddings.", "generator.": "encoder.", "generator_head.": "mlm_head."}
"""Prefixes of names in the whole model -> prefixes in the generator alone."""


def modern(name: str) -> str:
    """Return the name of a parameter with the prefix that encoders without heads lack."""
    return f"electra.{name}" if name.startswith(("embeddings.", "embeddings_project.", "encoder.")) else name


def config_to(config: ElectraConfig, vocab_size: int) -> dict[str, Any]:
    """Return the arguments of `transformers.ElectraConfig`, whose fields have the same names."""
    shared = {name: value for name, value in asdict(config).items() if name not in FIELDS_OF_OURS}
    return shared | {"vocab_size": vocab_size}


def config_from(values: Mapping[str, Any]) -> ElectraConfig:
    """Return the configuration that corresponds to a complete dictionary of a `transformers.ElectraConfig`.

    Raises:
        ValueError: a field has a value that this family does not support.
    """
    require_fixed("electra", values, FIXED)
    return config_from_fields(ElectraConfig, values, FIELDS_OF_OURS)


def joined(configs: tuple[ElectraConfig, ...]) -> ElectraConfig:
    """Return the configuration whose encoder and generator have given configurations.

    Raises:
        ValueError: the generator is not a narrower copy of the encoder.
    """
    encoder, generator = configs
    config = replace(encoder, generator_fraction=generator.hidden_size / encoder.hidden_size)
    replaced.require_generator(config.generator, generator, FIELDS_OF_OURS, f"hidden_size = {encoder.hidden_size}")
    return config


DISCRIMINATOR = Export(
    model_class="ElectraForPreTraining",
    names=names,
    config_to=config_to,
    config_from=config_from,
    optional=tuple(PROJECTION_NAMES),
    ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
    modern=modern,
)
GENERATOR = replace(
    DISCRIMINATOR,
    model_class="ElectraForMaskedLM",
    names=generator_names,
    ties={"mlm_head.decoder.weight": WORD_EMBEDDINGS},
    class_ties={"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"},
)
TASK_HEADS = {
    "sequence": TaskHead(
        "ElectraForSequenceClassification",
        build_classifier,
        new={**with_bias("head.dense", "classifier.dense"), **with_bias("head.out_proj", "classifier.out_proj")},
    ),
    **shared_heads("Electra"),
    "choices": TaskHead(
        "ElectraForMultipleChoice",
        build_classifier,
        new={**with_bias("head.dense", "sequence_summary.summary"), **with_bias("head.out_proj", "classifier")},
        output="choices",
    ),
}
_SMALL = {"training.epochs": 10}
FINETUNING: dict[str, Settings] = {
    # google-research/electra, configure_finetuning.py.
    "": {
        "optimizer.lr": 1e-4,
        "optimizer.bias_correction": False,
        "training.batch_size": 32,
        "training.epochs": 3,
        "training.warmup_proportion": 0.1,
        "training.layer_decay": 0.8,
    },
    "rte": _SMALL,
    "stsb": _SMALL,
    "squad": {"training.epochs": 2, "text.max_length": 512},
}
FINETUNING_LARGE: dict[str, Settings] = {"": {"optimizer.lr": 5e-5, "training.layer_decay": 0.9}}
WHOLE = Family(
    name="electra",
    config=ElectraConfig,
    corruption=ElectraMasking,
    template=Template(),
    samples=("electra", "full_sentences", "doc_sentences", "blocks", "chunks"),
    terms=(MASKED, REPLACED),
    build=build,
    parameters=replaced.PARAMETERS,
    word_embeddings=WORD_EMBEDDINGS,
    output_bias="generator_head.decoder.bias",
    layer=LAYER,
    export=DISCRIMINATOR,
    heads=TASK_HEADS,
    finetuning=FINETUNING,
    finetuning_large=FINETUNING_LARGE,
)
FAMILY = replace(
    WHOLE,
    parts=(
        Part("", replace(WHOLE, build=build_discriminator, terms=(REPLACED,)), replaced.in_discriminator),
        Part(
            "generator",
            replace(WHOLE, build=build_generator, terms=(MASKED,), export=GENERATOR, output_bias=OUTPUT_BIAS),
            lambda name: replaced.in_generator(name, IN_GENERATOR),
            lambda config: config.generator,
        ),
    ),
    joined=joined,
)
