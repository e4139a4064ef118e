"""The pipeline trains exactly what a plain loop over Hugging Face's BERT with unsharded LAMB trains."""

import json
import os
import subprocess
import sys

from ranks import ROOT
from samples import make_samples


def test_first_20_steps_equal_hugging_face(tmp_path):
    """bert_mini, equal weights and batches: one rank and two ranks under ZeRO-2 stay within float noise of the loop."""
    samples = make_samples(tmp_path / "samples", train=200)
    command = [
        sys.executable,
        "-m",
        "benchmarks.parity",
        "--samples",
        samples,
        "--out",
        tmp_path / "out",
        "--steps",
        "20",
    ]
    environment = os.environ | {"DS_ACCELERATOR": "cpu"}
    subprocess.run([*map(str, command), "--batch", "16"], cwd=ROOT, check=True, env=environment, timeout=900)
    result = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert max(result["differences"].values()) < 5e-6, result["differences"]
    assert len({round(loss, 3) for loss in result["curves"]["Hugging Face"]}) > 10, "the curve must move"
    assert (tmp_path / "out" / "parity.png").stat().st_size > 10_000
