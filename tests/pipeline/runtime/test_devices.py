"""A GPU is found in the table by the name that CUDA gives it."""

import pytest

from pipeline.runtime.devices import DEVICES, find_device


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Tesla V100-SXM2-32GB", "v100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA B200", "b200"),
    ],
)
def test_the_most_specific_entry_is_found(name, key):
    """The longest name that matches is chosen: `H100 PCIe` before `H100`."""
    assert find_device(name) is DEVICES[key]


def test_other_gpus_are_not_in_the_table():
    """Other GPUs are not in the table, and their peak is measured."""
    assert find_device("NVIDIA GeForce RTX 4090") is None


def test_the_peak_is_that_of_the_fastest_type():
    """The peak is in FLOP/s; a V100 has tensor cores for fp16 only."""
    assert DEVICES["v100"].peak_flops == 125e12 and "bfloat16" not in DEVICES["v100"].peak_tflops
