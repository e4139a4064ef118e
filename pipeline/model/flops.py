"""Floating-point operations of a model's training, counted by torch on the model itself."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.model.config import EncoderConfig

C = TypeVar("C", bound=EncoderConfig)

PROBES = ((1, 8, 1), (1, 16, 1), (1, 24, 1), (1, 8, 2), (2, 8, 1))
"""Samples, tokens of each and masked tokens of each: five batches tell the four costs and what a batch costs by itself
apart."""


@dataclass(frozen=True)
class Flops:
    """FLOPs of the forward and the backward pass."""

    per_token: float
    per_pair: float
    """Per pair of tokens of one sample, a token with itself included."""
    per_masked: float
    per_sample: float

    def flops(
        self, *, num_tokens: float, sum_squared_lengths: float, num_masked: float, num_samples: float
    ) -> float:
        """FLOPs of samples of these sizes, whatever micro-batches they are in.

        Args:
            num_tokens: sum of the lengths of the samples, special tokens included.
            sum_squared_lengths: sum of their squares.
            num_masked: masked tokens.
            num_samples: samples.
        """
        return (
            num_tokens * self.per_token
            + sum_squared_lengths * self.per_pair
            + num_masked * self.per_masked
            + num_samples * self.per_sample
        )


def useful(config: C) -> C:
    """The configuration of the same model that computes nothing twice, and runs on the meta device."""
    return replace(config, activation_checkpointing=False, max_logits_mib=2**20, kernels="plain")


def measure(build: Callable[[], nn.Module], make_batch: Callable[[int, int, int], Any]) -> Flops:
    """Count the operations of a model's matrix products, forward and backward.

    `torch.utils.flop_counter` counts 2abc for a product of (a, b) and (b, c), and nothing for any other operation.
    The model is built on the meta device, where operations have shapes and take neither time nor memory. Whatever it
    recomputes counts again: build it from `useful(config)`.

    Args:
        build: makes the model, which takes a batch and returns an output with the field `loss`.
        make_batch: makes a batch from samples, tokens of each, and masked tokens of each.
    """
    with torch.device("meta"):
        model = build().train()
        counts = [_count(model, make_batch(*probe)) for probe in PROBES]
    sizes = [[n * length, n * length**2, n * masked, n, 1] for n, length, masked in PROBES]
    costs = np.linalg.solve(np.array(sizes, float), np.array(counts, float))
    return Flops(*costs[:4].tolist())


def _count(model: nn.Module, batch: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        model(batch).loss.backward()
    return counter.get_total_flops()
