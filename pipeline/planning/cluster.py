"""Links between GPUs, and the time of a step's communication.

Volumes follow Rajbhandari et al. 2019 (ZeRO, https://arxiv.org/abs/1910.02054, section 7) with one difference: stages 1
and 2 there reduce each gradient to the rank that owns it, P elements, and gather the weights, P more. DeepSpeed 0.19.8
all-reduces its buckets instead unless `use_multi_rank_bucket_allreduce` is false (runtime/zero/stage_1_and_2.py,
`average_tensor`), which moves 2 P. In bf16 at stage 1 this project reduces and scatters as the paper does.
"""

from dataclasses import dataclass
from math import ceil, log2

from pipeline.engine.settings import Zero
from pipeline.runtime.devices import Device

LINK_EFFICIENCY = 0.8
"""Fraction of a link's rate that large collectives reach; an assumption."""
LATENCY_S = 2e-5
"""Latency of a collective in seconds for each doubling of the ranks; an assumption."""
GRADIENT_BYTES = 4
"""Bytes of each gradient that is sent: fp32 in every precision (`pipeline.engine.accumulation`)."""


@dataclass(frozen=True)
class Cluster:
    """Nodes of GPUs of one type."""

    device: Device
    gpus: int
    """Number of GPUs, one per rank."""
    gpus_per_node: int
    """Number of GPUs that NVLink connects."""
    network_gb_s: float
    """Rate between nodes in GB/s in one direction, for each GPU."""

    def seconds(self, volume: float, collectives: int) -> float:
        """Return the seconds in which collectives move data through each GPU.

        Within a node every byte passes through NVLink; between nodes, the adapters of a node share its traffic. The
        slower link determines the time, because both overlap in NCCL's rings.

        Args:
            volume: bytes per GPU.
            collectives: number of collectives.
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
    """Communication of one optimizer step, per GPU."""

    volume: float
    """Bytes sent."""
    seconds: float
    """Seconds that it takes without overlap."""
    exposed: float
    """Seconds that do not overlap with computation."""


def traffic(
    zero: Zero,
    parameters: int,
    itemsize: int,
    cluster: Cluster,
    accumulation: int,
    micro_seconds: float,
    scatters: bool = False,
) -> Traffic:
    """Estimate the communication of one step with P weights of e bytes and k micro-batches. Gradients are in fp32.

    stage 0: 2 P gradients once, after the backward pass, without overlap.
    stage 1: the same, or P gradients in bf16, and P weights once.
    stage 2: 2 P gradients per micro-batch, overlapping with the backward pass if `overlap_comm` is set; P weights once,
        without overlap.
    stage 3: per micro-batch P weights in the forward pass, P gradients, and in the backward pass the weights that have
        not stayed gathered, overlapping with computation if `overlap_comm` is set.

    Args:
        zero: stage and buckets.
        parameters: number of weights P.
        itemsize: bytes of a weight e.
        cluster: the GPUs and their links.
        accumulation: micro-batches per step and rank k.
        micro_seconds: seconds of the forward and backward pass of a micro-batch, two thirds of them backward.
        scatters: whether gradients are reduced to the rank that owns them (`accumulation.has_flat_sums`).
    """
    size, gradients = parameters * itemsize, parameters * GRADIENT_BYTES
    buckets = ceil(parameters / zero.reduce_bucket)
    if zero.stage == 3:
        again = max(0, parameters - zero.kept_gathered(parameters))
        each, hideable, gather = size + gradients + again * itemsize, micro_seconds, 0
        collectives = buckets + 2 * ceil(parameters / zero.prefetch_bucket)
    else:
        each, hideable = gradients if scatters else 2 * gradients, micro_seconds * 2 / 3
        gather = size if zero.stage else 0
        collectives = 1 if scatters else buckets
    times = accumulation if zero.stage >= 2 else 1
    one, last = cluster.seconds(each, collectives), cluster.seconds(gather, 1) if gather else 0.0
    hidden = min(one, hideable) if zero.overlap and zero.stage >= 2 else 0.0
    ring = (cluster.gpus - 1) / cluster.gpus
    return Traffic((times * each + gather) * ring, times * one + last, times * (one - hidden) + last)
