"""What data sheets say of GPUs."""

PEAK_TFLOPS = {
    "V100": 125,
    "A100": 312,
    "H100 PCIe": 756,
    "H100": 989,
    "H200": 989,
    "B200": 2250,
}
"""Dense bf16 (V100: fp16) tensor-core peak per device, from NVIDIA's data sheets (SXM unless named)."""
