"""A family outside the pipeline, with two terms, its own template, a frozen part, and samples without labels."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pipeline.data.config import MaskingConfig
from pipeline.data.template import Template
from pipeline.families.base import Export, Family, config_from_fields
from pipeline.families.encoders import (
    LAYER,
    OUR_OWN_FIELDS,
    OUTPUT_BIAS,
    WORD_EMBEDDINGS,
    encoder_names,
    is_matrix,
)
from pipeline.model.config import EncoderConfig
from pipeline.optim.parameters import Parameters
from pipeline.runlog.terms import Term

TERMS = (
    Term("mlm", "masked-token", "masked"),
    Term("lag", "previous-token", "tokens", weight=0.5, counted=False),
)


@dataclass(frozen=True)
class ShuffleConfig(EncoderConfig):
    """The configuration of an encoder, with the width of the frozen features."""

    features: int = 8
    """Width of the frozen features."""


@dataclass(frozen=True)
class EveryThird:
    """A corruption that masks every third token of the text, beginning at a drawn position."""

    duplicates: int = 0
    """Unused; it shows that another family's section may have other fields."""

    def at(self, progress):
        return self

    def warning(self, longest):
        return ""

    def counts(self, lengths, draw):
        return (lengths - 3) // 3

    def apply(self, packed, counts, draw, special):
        return MaskingConfig(max_predictions=1000).apply(packed, counts, draw, special)


def build(config, vocab_size):
    from torch import nn

    from pipeline.losses.cross_entropy import RowSum, cross_entropy_sum
    from pipeline.model.encoder import Encoder
    from pipeline.model.output import combined

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = Encoder(config, vocab_size, 0)
            self.decoder = nn.Linear(config.hidden_size, vocab_size)
            self.features = nn.Embedding(vocab_size, config.features)  # frozen
            self.reader = nn.Linear(config.hidden_size, config.features)
            self.features.weight.requires_grad_(False)

        def forward(self, batch):
            hidden = self.encoder(
                batch.input_ids, batch.segment_ids, batch.position_ids, batch.cu_seqlens, batch.max_seqlen
            )
            rows = self.decoder(hidden[batch.targets["positions"]])
            wanted = self.features(batch.input_ids)
            distance = (self.reader(hidden) - wanted).float().square().mean(1).sum()
            found = {"mlm": cross_entropy_sum(rows, batch.targets["labels"]), "lag": RowSum(distance, None)}
            return combined(TERMS, found, batch.totals)

    return Model()


def names(layers):
    heads = {f"{head}.{kind}": (f"{head}.{kind}",) for head in ("decoder", "reader") for kind in ("weight", "bias")}
    return {**encoder_names("shuffle", layers), **heads, "features.weight": ("features.weight",)}


def config_from(values: Mapping):
    return config_from_fields(ShuffleConfig, values, OUR_OWN_FIELDS)


FAMILY = Family(
    name="shuffle",
    config=ShuffleConfig,
    corruption=EveryThird,
    template=Template(single=("sep", "A", "cls", "sep"), segments=False, first_position=3),
    samples=("blocks",),
    terms=TERMS,
    build=build,
    parameters=Parameters(lambda name: not name.endswith("bias"), is_matrix=is_matrix),
    word_embeddings=WORD_EMBEDDINGS,
    output_bias=OUTPUT_BIAS,
    layer=LAYER,
    export=Export("None", names, config_to=lambda config, size: asdict(config), config_from=config_from),
)
