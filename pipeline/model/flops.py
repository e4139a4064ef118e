"""Floating-point operations of training, counted by torch on the model itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from pipeline.model.config import EncoderConfig
from pipeline.model.probe import uniform_batch

C = TypeVar("C", bound=EncoderConfig)

PROBES = ((1, 8, 1), (1, 16, 1), (1, 24, 1), (1, 8, 2), (2, 8, 1))
"""Samples, tokens per sample and masked tokens per sample of five batches, from whose FLOPs the four costs and a
constant per batch follow."""


@dataclass(frozen=True)
class Flops:
    """FLOPs of the forward and the backward pass together, and of the forward pass alone of an auxiliary model."""

    per_token: float
    per_pair: float
    """FLOPs per pair of tokens of one sample, including pairs of a token with itself, in layers with global
    attention."""
    per_masked: float
    per_sample: float
    per_near_pair: float = 0.0
    """The same in layers with local attention, for a pair of tokens that attend to each other there."""
    window: int | None = None
    """Number of tokens on either side that a token attends to in these layers; None: there are none."""

    def of_samples(self, lengths: npt.ArrayLike, num_masked: float) -> float:
        """Return the FLOPs of samples of given lengths, which do not depend on the division into micro-batches.

        Args:
            lengths: (B,) tokens of each sample, special tokens included.
            num_masked: masked tokens of all of them.
        """
        exact = np.asarray(lengths, np.float64)
        return self.flops(
            num_tokens=float(exact.sum()),
            sum_squared_lengths=float(np.square(exact).sum()),
            num_masked=num_masked,
            num_samples=len(exact),
            near_pairs=0.0 if self.window is None else float(near_pairs(exact, self.window).sum()),
        )

    def flops(
        self,
        *,
        num_tokens: float,
        sum_squared_lengths: float,
        num_masked: float,
        num_samples: float,
        near_pairs: float = 0.0,
    ) -> float:
        """Return the FLOPs of samples of given sizes.

        Args:
            num_tokens: sum of the lengths of the samples, special tokens included.
            sum_squared_lengths: sum of their squares.
            num_masked: masked tokens.
            num_samples: samples.
            near_pairs: pairs of tokens of one sample that attend to each other in local attention.
        """
        return (
            num_tokens * self.per_token
            + sum_squared_lengths * self.per_pair
            + num_masked * self.per_masked
            + num_samples * self.per_sample
            + near_pairs * self.per_near_pair
        )


def near_pairs(lengths: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """Return (B,) the pairs of tokens of samples of given lengths (B,) that are at most `window` tokens apart.

    There are L - d pairs at a distance of d tokens, in either order.
    """
    reach = np.minimum(window, lengths - 1)
    return lengths + 2 * reach * lengths - reach * (reach + 1)


def measure(
    build: Callable[[C], nn.Module], config: C, make_batch: Callable[[int, int, int], Any] = uniform_batch
) -> Flops:
    """Count the operations of a model's matrix products, forward and backward.

    `torch.utils.flop_counter` counts 2abc for a product of (a, b) and (b, c), and nothing for other operations. The
    model has no initial weights. Operations that training repeats under activation checkpointing, or for logits that
    are not kept, count once. Layers are equal, or repeat after `layer_step`, so that the FLOPs of any number of layers
    follow from models of a few layers. Local attention computes all pairs of sequences as short as those of the probes
    (`LEAST_BLOCK` of `pipeline.kernels.padded_attention`). A pair costs the same in every layer, so that the share of
    the layers with local attention is known.

    Args:
        build: makes the model, which takes a batch and returns an output with the field `loss`.
        config: configuration of the model.
        make_batch: makes a batch on the default device from the number of samples, tokens per sample and masked tokens
            per sample.
    """
    once = replace(
        config, activation_checkpointing=False, max_logits_mib=2**20, kernels="plain", attention="auto", fp8="none"
    )
    batches = [make_batch(*probe) for probe in PROBES]
    layers, step = config.num_hidden_layers, min(config.layer_step, config.num_hidden_layers)
    few = step + layers % step
    one, two = (_count(_built(build, replace(once, num_hidden_layers=n)), batches) for n in (few, few + step))
    counts = one + (layers // step - 1) * (two - one)
    sizes = [[n * length, n * length**2, n * masked, n, 1] for n, length, masked in PROBES]
    costs = (float(round(cost)) for cost in np.linalg.solve(np.array(sizes, float), counts)[:4])
    per_token, per_pair, per_masked, per_sample = costs
    if config.window is None:
        return Flops(per_token, per_pair, per_masked, per_sample)
    local = per_pair * config.local_layers / layers
    return Flops(per_token, per_pair - local, per_masked, per_sample, local, config.window)


class _WithoutInitialization(TorchFunctionMode):
    """Leaves out operations in place while the block runs: they fill weights with values that nobody reads."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.startswith("__"):
            return (*args, *(kwargs or {}).values())[0]
        return func(*args, **(kwargs or {}))


def _built(build: Callable[[C], nn.Module], config: C) -> nn.Module:
    """The model on the CPU, whose weights are whatever the memory held.

    Counting takes 0.7 s of each start of a training; on the meta device, whose operations are in Python, it takes 3.9.
    """
    with torch.device("meta"), _WithoutInitialization():
        model = build(config)
    return model.to_empty(device="cpu")


def _count(model: nn.Module, batches: Sequence[Any]) -> npt.NDArray[np.float64]:
    """Return the FLOPs of each batch (N,)."""
    counts = []
    for batch in batches:
        with FlopCounterMode(display=False) as counter:
            model(batch).loss.backward()
        counts.append(float(counter.get_total_flops()))
    return np.array(counts)
