"""What a plan assumes: the options of `pipeline.plan`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.planning.cluster import Cluster
from pipeline.runtime.devices import DEVICES, Device
from pipeline.runtime.formatting import GIB

STAGES = (0, 1, 2, 3)


@dataclass(frozen=True)
class Options:
    """What the plan assumes."""

    gpus: int = 8
    """GPUs that memory and recommendation are shown for."""
    gpu: Literal["v100", "a100-40gb", "a100", "h100-pcie", "h100", "h200", "b200"] = "h100"
    """Kind of GPU."""
    mfu: float = 0.45
    """Share of the peak that training reaches while it computes, counted on real tokens; an assumption. 0.45: what
    NVIDIA published for BERT-large on one A100 (DeepLearningExamples, 580 sequences/s of 128 tokens)."""
    price: float = 0.0
    """Price of a GPU for an hour, in any currency; 0: no cost is shown."""
    stages: list[int] = field(default_factory=lambda: [*STAGES])
    """ZeRO stages to choose from, such as [3]."""
    precision: Literal["bf16", "fp16"] = "bf16"
    """Of weights and gradients."""
    gpus_per_node: int = 8
    """GPUs that NVLink connects."""
    network_gb_s: float = 0.0
    """GB/s in one direction between nodes, for each GPU; 0: as in NVIDIA's DGX of that GPU."""
    headroom: float = 0.08
    """Share of a GPU's memory that stays free, for the allocator's waste and what the estimate leaves out."""
    seq_length: int | list[int] | None = None
    """Longest sample in tokens, one for all recipes or one for each; default: of the samples; where
    there are none yet, what the name of data.samples says (samples128), or the model's number of positions."""
    mean_tokens: float | list[float] | None = None
    """Mean length of a sample in tokens, likewise; default: of the samples, else seq_length."""
    vocab_size: int | None = None
    """Size of the vocabulary; default: of the samples; where there are none yet, 30,522 as BERT's."""
    out: Path | None = None
    """Picture of it, PNG."""
    json: Path | None = None
    """The figures, JSON."""

    def __post_init__(self) -> None:
        for name in ("gpus", "gpus_per_node"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)}: must be at least 1")
        if not self.stages or not {*self.stages} <= {*STAGES}:
            raise ValueError(f"--stages {self.stages}: one or more of {[*STAGES]}")
        if not 0 < self.mfu <= 1:
            raise ValueError(f"--mfu {self.mfu}: a share of the peak, above 0 and at most 1")
        if not 0 <= self.headroom < 1:
            raise ValueError(f"--headroom {self.headroom}: a share of the memory, at least 0 and below 1")
        for name in ("price", "network_gb_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} {getattr(self, name)}: must not be negative")

    @property
    def device(self) -> Device:
        """The kind of GPU."""
        return DEVICES[self.gpu]

    @property
    def usable(self) -> float:
        """Bytes of it that a plan may fill."""
        return self.usable_of(self.device)

    def usable_of(self, device: Device) -> float:
        """Bytes of another kind of GPU that a plan may fill."""
        return device.memory_gib * GIB * (1 - self.headroom)

    def cluster(self, gpus: int) -> Cluster:
        """So many of them."""
        return Cluster(self.device, gpus, self.gpus_per_node, self.network_gb_s or self.device.network_gb_s)
