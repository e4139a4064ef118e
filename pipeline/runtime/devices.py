"""Memory, peak rates and interconnects of GPUs, from NVIDIA's data sheets.

Each entry follows the data sheet of the GPU (SXM unless the name says otherwise) and of the DGX that contains it.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """A model of GPU, and its interconnects in a DGX."""

    name: str
    """Words that CUDA's name of the GPU contains: "H100 PCIe" for "NVIDIA H100 PCIe"."""
    memory_gib: float
    """Size of the memory, as the data sheet states it."""
    nvlink_gb_s: float
    """Bandwidth to the GPUs of the same node, in GB/s per direction; that of PCI Express where there is no NVLink."""
    network_gb_s: float
    """Bandwidth to other nodes per GPU, in GB/s per direction: that of all network adapters of a DGX, divided by the
    number of its GPUs."""
    peak_tflops: Mapping[str, float]
    """Dense tensor-core peak in TFLOP/s, by the torch name of the type of the factors, of 16 bits."""
    memory_gb_s: float
    """Bandwidth of the memory in GB/s."""
    fp8_tflops: float = 0.0
    """Dense tensor-core peak in TFLOP/s with factors of 8 bits; 0: it has no such products."""

    @property
    def peak_flops(self) -> float:
        """Dense peak in FLOP/s for the fastest 16-bit type."""
        return max(self.peak_tflops.values()) * 1e12


def _both(tflops: float) -> dict[str, float]:
    return {"float16": tflops, "bfloat16": tflops}


DEVICES = {
    "v100": Device("V100", 32, 150, 6.25, {"float16": 125}, 900),
    "a100-40gb": Device("A100 40GB", 40, 300, 25, _both(312), 1555),
    "a100": Device("A100", 80, 300, 25, _both(312), 2039),
    "h100-pcie": Device("H100 PCIe", 80, 64, 25, _both(756), 2000, 1513),
    "h100": Device("H100", 80, 450, 50, _both(989), 3350, 1979),
    "h200": Device("H200", 141, 450, 50, _both(989), 4800, 1979),
    "b200": Device("B200", 180, 900, 50, _both(2250), 8000, 4500),
}
"""The known GPUs by the name that options use."""


def find_device(name: str) -> Device | None:
    """The entry with the longest name of those whose words all occur in CUDA's name of a GPU; None if there is none."""
    matches = [device for device in DEVICES.values() if all(word in name for word in device.name.split())]
    return max(matches, key=lambda device: len(device.name), default=None)
