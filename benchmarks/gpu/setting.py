"""Where and at which size the sections run."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from pipeline.families.bert import BertConfig
from pipeline.kernels.config import Fp8
from pipeline.kernels.fp8 import LEAST_CAPABILITY

LARGE = BertConfig(1024, 24, 16, 4096, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
MINI = BertConfig(256, 4, 4, 1024, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
DROPOUT = 0.1
"""Dropout of the published recipes."""


@dataclass(frozen=True)
class Setting:
    """Device, size and number of repetitions of all sections."""

    device: torch.device
    tiny: bool = False
    """Whether shapes are so small that a CPU runs the sections in seconds; the figures are then meaningless."""
    rounds: int = 10
    """Number of calls of which each median is taken."""

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def dtype(self) -> torch.dtype:
        """Type of weights and activations that is measured."""
        return torch.bfloat16

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return 500 if self.tiny else 30_522

    @property
    def fp8(self) -> Fp8:
        """How products in FP8 are computed here: emulated where there is no GPU, none on a GPU without them."""
        if not self.on_gpu:
            return "emulated"
        return "native" if torch.cuda.get_device_capability(self.device) >= LEAST_CAPABILITY else "none"

    def config(self, dropout: float, fp8: Fp8 = "none") -> BertConfig:
        """BERT-large, or a model of one layer, with this dropout of hidden states and attention."""
        shape = replace(MINI, num_hidden_layers=1) if self.tiny else LARGE
        return replace(shape, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, fp8=fp8)

    @property
    def micro_batches(self) -> tuple[int, ...]:
        """Micro-batch sizes of phase 1, ascending."""
        return (2, 4) if self.tiny else (64, 128, 192, 256)

    @cached_property
    def packed(self) -> list[int]:
        """Lengths of the sequences of a micro-batch of phase 2: up to 512 tokens, 264 on average."""
        return [40, 70] if self.tiny else np.random.default_rng(0).integers(16, 513, 64).tolist()

    @property
    def length(self) -> int:
        """Length of the sequences of phase 1."""
        return 32 if self.tiny else 128
