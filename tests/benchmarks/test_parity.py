"""The pipeline trains as a plain loop over Hugging Face's BERT with an unsharded LAMB does."""

import json
import os
import subprocess
import sys

import pytest
from attempts import attempts
from ranks import ROOT, on_ranks
from recipes import curve
from samples import make_samples

from benchmarks.parity import differences, huggingface, recipe_arguments
from pipeline.config import parse


def test_first_steps_equal_hugging_face(tmp_path):
    """With equal weights and batches, one rank and two ranks under ZeRO-2 follow the plain loop to rounding."""
    samples, steps, batch = make_samples(tmp_path / "samples", train=200), 4, 8
    curves = {}
    for world_size, stage in ((1, 0), (2, 2)):
        run = tmp_path / f"ranks{world_size}"
        arguments = recipe_arguments(samples, run, steps, batch)
        arguments += ["--engine.deepspeed", f"ds_configs/zero{stage}_{{precision}}.json"]
        assert on_ranks(attempts, world_size, [arguments]) == [[("", "passed")]] * world_size
        curves[run.name] = curve(run)
    curves["Hugging Face"] = huggingface(parse(recipe_arguments(samples, tmp_path / "run", steps, batch)))
    assert max(differences(curves).values()) < 5e-6, curves
    assert len({round(loss, 3) for loss in curves["Hugging Face"]}) == steps, "the curve must move"


@pytest.mark.slow
def test_first_20_steps_equal_hugging_face(tmp_path):
    """The curves of the command agree over 20 steps, and the command draws them."""
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
