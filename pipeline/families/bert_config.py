"""The model section of BERT's recipes; apart from `pipeline.families.bert`, which needs torch."""

from dataclasses import dataclass

from pipeline.sections import EncoderConfig


@dataclass(frozen=True)
class BertConfig(EncoderConfig):
    """BERT has no options beyond its encoder's."""
