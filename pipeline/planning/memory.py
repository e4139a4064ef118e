"""Memory of one process that trains: estimated before it runs, part by part.

A training is written down as the blocks that it takes and gives back (`pipeline.planning.step_blocks`); the estimate is
read off them. `benchmarks/memory_plan.py` holds it against measured processes. What each ZeRO stage holds: Rajbhandari
et al. 2019, https://arxiv.org/abs/1910.02054, figure 1.
"""

from dataclasses import dataclass

from pipeline.engine.engine import DTYPES
from pipeline.engine.settings import Zero
from pipeline.model.config import EncoderConfig
from pipeline.planning.measure import Build, MicroBatch, activations
from pipeline.planning.step_blocks import StepBlocks, count_parameters

PROCESS_BYTES = {"cpu": round(0.44 * 2**30), "cuda": 2**30}
"""Of a process that holds no tensor. On the CPU, measured: 0.41 GiB resident with torch and DeepSpeed loaded, 0.03 more
after two steps (kernels that oneDNN compiles, Python's objects). On a CUDA device its context, cuBLAS' workspace and
NCCL's channels: 0.6 to 1.2 GiB as commonly seen, an assumption."""
PARTS = {
    "process": "libraries, and the device's context",
    "weights": "what the forward pass computes with; a partition at stage 3; fp32 while the model is built",
    "masters": "fp32 weights that the optimizer updates; stage 0 in fp32 updates the weights themselves",
    "moments": "two fp32 numbers per weight of the partition",
    "gradients": "in the model's type as they come, and their sums in fp32",
    "buckets": "DeepSpeed's communication buffers, and its copies of gradients for them",
    "gathered": "stage 3: whole weights that have been gathered and not yet let go of",
    "activations": "what autograd keeps, without the logits",
    "logits": "over the vocabulary, kept for the backward pass",
    "temporaries": "what is taken and given back within a pass",
    "gaps": "a CPU's heap: holes that nothing fitted into; 0 elsewhere",
}


@dataclass(frozen=True)
class Estimate:
    """Memory at the fullest moment."""

    parts: dict[str, int]
    """Bytes by what they are, in the order of PARTS."""
    phase: str
    """When it is: "start", "forward", "backward" or "step"."""

    @property
    def total(self) -> int:
        """Sum of the parts."""
        return sum(self.parts.values())

    @property
    def figures(self) -> dict[str, int | str]:
        """All of it as plain numbers."""
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
) -> Estimate:
    """Memory of one rank at its fullest moment.

    Args:
        build: makes the model from a configuration and the size of the vocabulary.
        config: of the model.
        vocab_size: number of token ids.
        batch: the micro-batch.
        zero: DeepSpeed's stage and buffers.
        precision: "fp32", "bf16" or "fp16".
        world_size: ranks.
        kind: "cpu": the resident set; "cuda": what is allocated on the device.
        accumulating: whether a step has several micro-batches.
    """
    kept = activations(build, config, vocab_size, batch, DTYPES[precision], kind)
    parameters = count_parameters(build, config, vocab_size)
    blocks = StepBlocks(parameters, kept, zero, precision, world_size, kind == "cpu")
    timeline = blocks.write(config.checkpointed_layers, accumulating)
    live, phase = timeline.most_live()
    if kind == "cpu":
        live["gaps"] += timeline.high_water() - live.total()
    live["process"] = PROCESS_BYTES[kind]
    return Estimate({part: live[part] for part in PARTS}, phase)
