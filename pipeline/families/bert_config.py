"""The model section of BERT's recipes; apart from `pipeline.families.bert`, which needs torch."""

from dataclasses import dataclass

from pipeline.model.config import EncoderConfig


@dataclass(frozen=True)
class BertConfig(EncoderConfig):
    """BERT has no options beyond its encoder's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.type_vocab_size < 2:
            raise ValueError(
                f"model.type_vocab_size = {self.type_vocab_size}: must be at least 2; sentence pairs have two segments"
            )
