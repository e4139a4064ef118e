"""The links between GPUs, and how long a step's communication takes.

Volumes follow Rajbhandari et al. 2019 (ZeRO, https://arxiv.org/abs/1910.02054, section 7) with one difference: stages 1
and 2 there reduce each gradient to the rank that owns it, P elements, and gather the weights, P more. DeepSpeed 0.19.8
all-reduces its buckets instead unless `use_multi_rank_bucket_allreduce` is false (runtime/zero/stage_1_and_2.py,
`average_tensor`), which moves 2 P.
"""

from dataclasses import dataclass
from math import ceil, log2

from pipeline.engine.settings import Zero
from pipeline.runtime.devices import Device

LINK_EFFICIENCY = 0.8
"""Share of a link's rate that large collectives reach; an assumption."""
LATENCY_S = 2e-5
"""Seconds that a collective takes however little it moves, for each doubling of the ranks; an assumption."""
GRADIENT_BYTES = 4
"""Of each gradient that is sent: fp32 in every precision (`pipeline.engine.accumulation`)."""


@dataclass(frozen=True)
class Cluster:
    """GPUs of one kind in nodes."""

    device: Device
    gpus: int
    """Ranks."""
    gpus_per_node: int
    """GPUs that NVLink connects."""
    network_gb_s: float
    """As `Device.network_gb_s`."""

    def seconds(self, volume: float, collectives: int) -> float:
        """Time to move `volume` bytes past each GPU in some collectives.

        Within a node every byte passes NVLink; between nodes, the adapters of a node share what it has to send. The
        slower of the two decides, as the two overlap in NCCL's rings.
        """
        if self.gpus == 1:
            return 0.0
        rate = self.device.nvlink_gb_s
        if self.gpus > self.gpus_per_node:
            rate = min(rate, self.gpus_per_node * self.network_gb_s)
        ring = (self.gpus - 1) / self.gpus
        return volume * ring / (rate * 1e9 * LINK_EFFICIENCY) + collectives * LATENCY_S * ceil(log2(self.gpus))


@dataclass(frozen=True)
class Traffic:
    """Of one optimizer step, past each GPU."""

    volume: float
    """Bytes."""
    seconds: float
    """That it takes alone."""
    exposed: float
    """Seconds of them in which nothing is computed."""


def traffic(
    zero: Zero, parameters: int, itemsize: int, cluster: Cluster, accumulation: int, micro_seconds: float
) -> Traffic:
    """Communication of one step: P weights of e bytes, k micro-batches. Gradients are sent in fp32.

    stage 0: 2 P gradients once, after the backward pass: nothing hides it.
    stage 1: the same, and P weights once.
    stage 2: 2 P gradients with every micro-batch, beside the backward pass where `overlap_comm` is set; P weights once,
        not hidden.
    stage 3: with every micro-batch P weights forward, P gradients, and backward what of the weights has not stayed
        gathered, beside the computation where `overlap_comm` is set.

    Args:
        zero: stage and buckets.
        parameters: P.
        itemsize: e.
        cluster: the links.
        accumulation: k.
        micro_seconds: what one micro-batch computes, forward and backward; the backward pass is two thirds of it.
    """
    size, gradients = parameters * itemsize, parameters * GRADIENT_BYTES
    buckets = ceil(parameters / zero.reduce_bucket)
    if zero.stage == 3:
        again = max(0, parameters - zero.kept_gathered(parameters))
        each, hideable, gather = size + gradients + again * itemsize, micro_seconds, 0
        collectives = buckets + 2 * ceil(parameters / zero.prefetch_bucket)
    else:
        each, hideable, gather = 2 * gradients, micro_seconds * 2 / 3, size if zero.stage else 0
        collectives = buckets
    times = accumulation if zero.stage >= 2 else 1
    one, last = cluster.seconds(each, collectives), cluster.seconds(gather, 1) if gather else 0.0
    hidden = min(one, hideable) if zero.overlap and zero.stage >= 2 else 0.0
    ring = (cluster.gpus - 1) / cluster.gpus
    return Traffic((times * each + gather) * ring, times * one + last, times * (one - hidden) + last)
