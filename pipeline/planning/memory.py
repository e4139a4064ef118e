"""Estimate of the peak memory of a training process, by part.

A step is described as a sequence of allocated and freed blocks (`pipeline.planning.step_blocks`), from which the peak
follows. `benchmarks/memory_plan.py` compares estimates with measured processes. Source of the memory of each ZeRO
stage: Rajbhandari et al. 2019, https://arxiv.org/abs/1910.02054, figure 1.
"""

from dataclasses import dataclass

from pipeline.engine.engine import DTYPES
from pipeline.engine.settings import Zero
from pipeline.model.config import EncoderConfig
from pipeline.planning.measure import Build, MicroBatch, activations
from pipeline.planning.parameters import count_parameters
from pipeline.planning.step_blocks import StepBlocks

PROCESS_BYTES = {"cpu": round(0.44 * 2**30), "cuda": 2**30}
"""Bytes of a process without tensors. On a CPU they are measured: 0.41 GiB resident with torch and DeepSpeed loaded,
and 0.03 GiB more after two steps (kernels compiled by oneDNN, Python objects). On a CUDA device they are assumed:
context, cuBLAS workspace and NCCL channels usually take 0.6 to 1.2 GiB."""
PARTS = {
    "process": "libraries and the context of the device",
    "weights": "weights of the forward pass; a partition at stage 3; fp32 while the model is built",
    "masters": "fp32 weights that the optimizer updates; stage 0 in fp32 updates the weights themselves",
    "moments": "two fp32 numbers per weight of the partition, or one where Muon updates it; another for an average",
    "auxiliary": "weights of an auxiliary model such as a teacher, which no ZeRO stage divides",
    "gradients": "gradients of a micro-batch in the model's type, and their sums in fp32",
    "buckets": "DeepSpeed's communication buffers, and its copies of gradients for them",
    "gathered": "stage 3: gathered weights that have not been released yet",
    "activations": "tensors kept for the backward pass, without the logits",
    "logits": "logits over the vocabulary, kept for the backward pass",
    "temporaries": "tensors allocated and freed within a pass",
    "gaps": "heap fragmentation on a CPU; 0 on other devices",
}


@dataclass(frozen=True)
class Estimate:
    """Peak memory of a process."""

    parts: dict[str, int]
    """Bytes of each part at the peak, in the order of PARTS."""
    phase: str
    """Phase of the peak: "start", "forward", "backward" or "step"."""

    @property
    def total(self) -> int:
        """Peak in bytes, the sum of all parts."""
        return sum(self.parts.values())

    @property
    def figures(self) -> dict[str, int | str]:
        """Parts and phase as JSON values."""
        return {**self.parts, "phase": self.phase}


def estimate(
    build: Build,
    config: EncoderConfig,
    vocab_size: int,
    batch: MicroBatch,
    zero: Zero,
    *,
    precision: str,
    world_size: int,
    kind: str,
    accumulating: bool,
    muon: int = 0,
    averaged: bool = False,
) -> Estimate:
    """Estimate the peak memory of one rank.

    Args:
        build: makes the model, with its auxiliary model, from a configuration and the size of the vocabulary.
        config: configuration of the model.
        vocab_size: number of token ids.
        batch: sizes of the micro-batch.
        zero: ZeRO stage and buffers of DeepSpeed.
        precision: "fp32", "bf16" or "fp16".
        world_size: number of ranks.
        kind: "cpu" for the resident set; "cuda" for allocations on the device.
        accumulating: whether a step has several micro-batches.
        muon: number of weights that Muon updates.
        averaged: whether the weights are averaged.
    """
    kept = activations(build, config, vocab_size, batch, DTYPES[precision], kind)
    parameters = count_parameters(build, config, vocab_size)
    blocks = StepBlocks(parameters, kept, zero, precision, world_size, kind == "cpu", muon, averaged)
    timeline = blocks.write(config.checkpointed_layers, accumulating)
    live, phase = timeline.most_live()
    if kind == "cpu":
        live["gaps"] += timeline.high_water() - live.total()
    live["process"] = PROCESS_BYTES[kind]
    return Estimate({part: live[part] for part in PARTS}, phase)
