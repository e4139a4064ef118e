"""The options of `pipeline.plan`, which are the assumptions of a plan."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.planning.cluster import Cluster
from pipeline.runtime.devices import DEVICES, Device
from pipeline.runtime.formatting import GIB

STAGES = (0, 1, 2, 3)


@dataclass(frozen=True)
class Options:
    """Assumptions of a plan, and its output files."""

    gpus: int = 8
    """Number of GPUs for which memory and a recommendation are shown."""
    gpu: Literal["v100", "a100-40gb", "a100", "h100-pcie", "h100", "h200", "b200"] = "h100"
    """Type of GPU."""
    mfu: float = 0.45
    """Assumed fraction of the peak FLOP/s that training reaches during computation, by the FLOPs of real tokens. The
    default follows from NVIDIA's figure for BERT-large on one A100 (DeepLearningExamples, 580 sequences/s of 128
    tokens). """
    price: float = 0.0
    """Price of one GPU per hour in any currency; 0: costs are not shown."""
    stages: list[int] = field(default_factory=lambda: [*STAGES])
    """ZeRO stages from which the plan chooses, such as [3]."""
    precision: Literal["bf16", "fp16"] = "bf16"
    """Precision of the model's weights."""
    gpus_per_node: int = 8
    """Number of GPUs that NVLink connects."""
    network_gb_s: float = 0.0
    """Rate between nodes in GB/s in one direction, for each GPU; 0: that of NVIDIA's DGX with this GPU."""
    headroom: float = 0.08
    """Fraction of a GPU's memory that stays free for fragmentation and for memory that the estimate omits."""
    seq_length: int | list[int] | None = None
    """Tokens of the longest sample, one number for all recipes or one for each. Default: that of the samples; if they
    do not exist yet, the number in the name of data.samples (samples128), or the model's number of positions."""
    mean_tokens: float | list[float] | None = None
    """Mean number of tokens of a sample, one number for all recipes or one for each. Default: that of the samples, or
    seq_length if they do not exist yet."""
    vocab_size: int | None = None
    """Size of the vocabulary. Default: that of the samples, or BERT's 30,522 if they do not exist yet."""
    out: Path | None = None
    """PNG file for a picture of the plan."""
    json: Path | None = None
    """JSON file for the figures of the plan."""

    def __post_init__(self) -> None:
        for name in ("gpus", "gpus_per_node"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)}: must be at least 1")
        if not self.stages or not {*self.stages} <= {*STAGES}:
            raise ValueError(f"--stages {self.stages}: must be one or more of {[*STAGES]}")
        if not 0 < self.mfu <= 1:
            raise ValueError(f"--mfu {self.mfu}: must be a fraction of the peak, above 0 and at most 1")
        if not 0 <= self.headroom < 1:
            raise ValueError(f"--headroom {self.headroom}: must be a fraction of the memory, at least 0 and below 1")
        for name in ("price", "network_gb_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} {getattr(self, name)}: must not be negative")

    @property
    def device(self) -> Device:
        """Data of the type of GPU."""
        return DEVICES[self.gpu]

    @property
    def usable(self) -> float:
        """Bytes of a GPU that a plan may use."""
        return self.usable_of(self.device)

    def usable_of(self, device: Device) -> float:
        """Return the bytes of another type of GPU that a plan may use."""
        return device.memory_gib * GIB * (1 - self.headroom)

    def cluster(self, gpus: int) -> Cluster:
        """Return a cluster of this number of GPUs."""
        return Cluster(self.device, gpus, self.gpus_per_node, self.network_gb_s or self.device.network_gb_s)
