"""GPUs: memory, peak rate and links, as NVIDIA's data sheets state them.

Each entry follows the data sheet of the GPU (SXM unless the name says otherwise) and of the DGX that holds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """A kind of GPU and the links of one in a DGX."""

    name: str
    """Words that CUDA's name of the GPU contains: "H100 PCIe" for "NVIDIA H100 PCIe"."""
    memory_gib: float
    """Memory, as the data sheet states it."""
    nvlink_gb_s: float
    """To the GPUs of the same node, in GB/s of one direction; PCI Express where there is no NVLink."""
    network_gb_s: float
    """To other nodes, in GB/s of one direction and GPU: the network adapters of a DGX, divided by its GPUs."""
    peak_tflops: Mapping[str, float]
    """Dense tensor-core peak in TFLOP/s by the type of the factors, named as in torch."""

    @property
    def peak_flops(self) -> float:
        """FLOP/s, dense, in the fastest type of 16 bits."""
        return max(self.peak_tflops.values()) * 1e12


def _both(tflops: float) -> dict[str, float]:
    return {"float16": tflops, "bfloat16": tflops}


DEVICES = {
    "v100": Device("V100", 32, 150, 6.25, {"float16": 125}),
    "a100-40gb": Device("A100 40GB", 40, 300, 25, _both(312)),
    "a100": Device("A100", 80, 300, 25, _both(312)),
    "h100-pcie": Device("H100 PCIe", 80, 64, 25, _both(756)),
    "h100": Device("H100", 80, 450, 50, _both(989)),
    "h200": Device("H200", 141, 450, 50, _both(989)),
    "b200": Device("B200", 180, 900, 50, _both(2250)),
}
"""By the name that options give them."""


def find_device(name: str) -> Device | None:
    """The entry with the longest name whose words all occur in CUDA's name of a GPU; None if there is none."""
    matches = [device for device in DEVICES.values() if all(word in name for word in device.name.split())]
    return max(matches, key=lambda device: len(device.name), default=None)
