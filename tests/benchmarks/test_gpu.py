"""The GPU benchmark runs without a GPU, so that it works when one is available."""

import json

import pytest
import torch

from benchmarks.gpu import main


@pytest.mark.slow
def test_everything_runs_on_a_cpu(tmp_path):
    """All checks pass on the CPU, and every figure is written."""
    main(device="cpu", out=tmp_path / "gpu.json", tiny=True, rounds=1)
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert result["check"]["failed"] == [] and result["versions"]["torch"] == torch.__version__
    for case in ("phase1", "phase2"):
        assert {"sequences_per_second", "tflops", "lamb_ms"} <= result["measured"][case].keys()
        assert result["huggingface"][case]["sequences_per_second"] > 0
    for name, region in result["measured"]["kernels"].items():
        assert name == "copy_gb_per_s" or {"floor_ms", "plain", "triton"} <= region.keys(), name
