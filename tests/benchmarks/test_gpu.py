"""The GPU benchmark runs, so that it is ready when a GPU is at hand, and an error loses one section only."""

import json
import subprocess

import pytest
import torch

from benchmarks.gpu import __main__ as program
from benchmarks.gpu.runs import determinism
from benchmarks.gpu.sections import SECTIONS
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.summary import summary


def result(folder):
    return json.loads((folder / "gpu.json").read_text())


@pytest.mark.slow
def test_every_section_runs_on_a_cpu(tmp_path):
    """All checks pass on the CPU, a killed run resumes with equal bits, and every section has figures."""
    program.main(out=tmp_path, device="cpu", tiny=True, rounds=1, deadline=3600)
    written = result(tmp_path)
    assert written["failures"] == {} and list(written["sections"]) == list(SECTIONS)
    assert written["sections"]["checks"]["failed"] == [] and written["versions"]["torch"] == torch.__version__
    cases = {"phase1 4, dropout 0.1", "phase2 2, dropout 0", "phase1 4, dropout 0.1, fp8 emulated"}
    assert cases <= written["sections"]["steps"].keys()
    assert written["sections"]["determinism"]["killed"] == {"weights_differ": 0, "losses_differ": 0}
    for name, region in written["sections"]["kernels"].items():
        assert name == "copy_gb_per_s" or {"floor_ms", "plain", "triton"} <= region.keys(), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="requires a GPU")
@pytest.mark.parametrize("fp8", ["none", "native"])
def test_runs_on_a_gpu_repeat_and_resume_bit_for_bit(fp8):
    """At 512 tokens, where sums of attention have several tiles, weights and losses are equal after a kill (law 5)."""
    setting = Setting(torch.device("cuda"))
    if fp8 != "none" and setting.fp8 != fp8:
        pytest.skip("the GPU has no products in FP8")
    same = {"weights_differ": 0, "losses_differ": 0}
    assert determinism(setting, fp8) == {"repeated": same, "killed": same}


def test_a_section_that_fails_loses_its_own_figures_only(tmp_path, monkeypatch, capsys):
    """The section before and the section behind it have theirs, the reason is written, and the status is 1."""

    def pretended(command, stdout, **_):
        name, out = command[3:5]
        if name == "checks":
            stdout.write("Traceback\nRuntimeError: illegal memory access\n")
            return subprocess.CompletedProcess(command, 1)
        if name == "update":
            raise subprocess.TimeoutExpired(command, 40)
        with open(out, "w") as file:
            json.dump({"of": name}, file)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", pretended)
    monkeypatch.setattr(program, "summary", lambda figures, failures: "summary")
    with pytest.raises(SystemExit):
        program.main(out=tmp_path, device="cpu", sections=["products", "checks", "update", "kernels"])
    assert result(tmp_path)["sections"] == {"products": {"of": "products"}, "kernels": {"of": "kernels"}}
    assert result(tmp_path)["failures"]["checks"] == "status 1: RuntimeError: illegal memory access"
    assert result(tmp_path)["failures"]["update"] == "ended after 40 s"
    assert "summary" in capsys.readouterr().out


def test_no_section_begins_after_the_deadline(tmp_path):
    """All figures that exist are written, and the sections that did not run are named."""
    with pytest.raises(SystemExit):
        program.main(out=tmp_path, device="cpu", deadline=0, sections=["products", "update"])
    assert result(tmp_path)["failures"] == dict.fromkeys(["products", "update"], "not run: the deadline")


def test_the_summary_has_two_lines():
    """Speed beside Hugging Face's, and everything that a check has found."""
    steps = {"phase1 64, dropout 0": 900.0, "phase1 256, dropout 0": 2000.0, "phase1 256, dropout 0.1": 1800.0}
    steps["phase1 256, dropout 0.1, fp8 native"] = 2200.0
    figures = {
        "steps": {name: {"sequences_per_second": rate} for name, rate in steps.items()},
        "huggingface": {"phase1 compiled 256": {"sequences_per_second": 600.0}, "phase1 eager": {"error": "memory"}},
        "update": {"ours_over_bound": {"copy": 1.25}},
        "checks": {"failed": ["attention bf16"], "errors": {"attention bf16": 0.5}},
        "determinism": {"killed": {"weights_differ": 3, "losses_differ": 0}},
    }
    speed, checks = summary(figures, {"kernels": "ended after 120 s"}).splitlines()
    assert "phase1 2,000 sequences/s, 1,800 with dropout; with dropout in FP8 2,200; Hugging Face 600" in speed
    assert "Hugging Face 600 (ours is 3.00x)" in speed
    assert speed.endswith("update at 80 % of a copy's bandwidth")
    assert "attention bf16 5.0e-01; killed run DIFFERS" in checks and checks.endswith("kernels: ended after 120 s")
