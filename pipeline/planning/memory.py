"""Memory of one process that trains: estimated before it runs, part by part.

A training is written down as the blocks that it takes and gives back (`pipeline.planning.step_blocks`); the estimate is
read off them. `benchmarks/memory_plan.py` holds it against measured processes. What each ZeRO stage holds: Rajbhandari
et al. 2019, https://arxiv.org/abs/1910.02054, figure 1."""

from collections import Counter
from dataclasses import dataclass

import torch

from pipeline.engine.engine import DTYPES
from pipeline.engine.settings import Zero
from pipeline.model.encoder import EncoderConfig
from pipeline.planning.activations import MicroBatch, activations
from pipeline.planning.step_blocks import Parameters, StepBlocks

PROCESS_BYTES = {"cpu": round(0.44 * 2**30), "cuda": 2**30}
"""Of a process that holds no tensor. On the CPU, measured: 0.41 GiB resident with torch and DeepSpeed loaded, 0.03 more
after two steps (kernels that oneDNN compiles, Python's objects). On a CUDA device its context, cuBLAS' workspace and
NCCL's channels: 0.6 to 1.2 GiB as commonly seen, an assumption."""
PARTS = (
    "process",
    "weights",
    "masters",
    "moments",
    "gradients",
    "buckets",
    "gathered",
    "activations",
    "logits",
    "temporaries",
    "gaps",
)


@dataclass(frozen=True)
class Estimate:
    """Bytes at the fullest moment, by what they are."""

    process: int
    """Libraries, and the device's context."""
    weights: int
    """What the forward pass computes with; a partition at stage 3. fp32 while the model is built."""
    masters: int
    """fp32 weights that the optimizer updates; stage 0 in fp32 updates the weights themselves."""
    moments: int
    """Two fp32 numbers per weight of the partition."""
    gradients: int
    """In the model's type as they come, and their sums in fp32."""
    buckets: int
    """DeepSpeed's communication buffers, and its copies of gradients for them."""
    gathered: int
    """Stage 3: whole weights that have been gathered and not yet let go of."""
    activations: int
    """What autograd keeps, without the logits."""
    logits: int
    """Over the vocabulary, and their gradient."""
    temporaries: int
    """What one operation takes and gives back."""
    gaps: int
    """A CPU's heap: holes that nothing fitted into. 0 elsewhere."""
    phase: str
    """When it is: "start", "forward", "backward" or "step"."""

    @property
    def total(self) -> int:
        """Sum of the parts."""
        return sum(getattr(self, part) for part in PARTS)


def estimate(
    parameters: Parameters,
    config: EncoderConfig,
    vocab_size: int,
    batch: MicroBatch,
    zero: Zero,
    *,
    precision: str,
    world_size: int,
    kind: str,
    accumulating: bool,
) -> Estimate:
    """Memory of one rank at its fullest moment.

    Args:
        parameters: of the model.
        config: its shape.
        vocab_size: V.
        batch: the micro-batch.
        zero: DeepSpeed's stage and buffers.
        precision: "fp32", "bf16" or "fp16".
        world_size: ranks.
        kind: "cpu": the resident set; "cuda": what is allocated on the device.
        accumulating: whether a step has several micro-batches.
    """
    dtype = DTYPES[precision]
    kept = activations(config, vocab_size, batch, dtype, torch.device(kind))
    blocks = StepBlocks(parameters, kept, zero, precision, world_size, kind == "cpu")
    timeline = blocks.write(config.checkpointed_layers, accumulating)
    live, phase = timeline.most_live()
    if kind == "cpu":
        live["gaps"] += timeline.high_water() - live.total()
    live["process"] = PROCESS_BYTES[kind]
    return Estimate(**_parts(live), phase=phase)


def _parts(live: Counter[str]) -> dict[str, int]:
    assert live.keys() <= set(PARTS), f"parts without a name: {live.keys() - set(PARTS)}"
    return {part: live[part] for part in PARTS}
