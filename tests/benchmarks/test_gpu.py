"""The GPU benchmark runs, so that it is ready when a GPU is at hand, and an error loses one section only."""

import json
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from benchmarks import attention
from benchmarks.gpu import __main__ as program
from benchmarks.gpu import attributes, processes, sections
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
    assert written["sections"]["determinism"]["ZeRO-1 killed"] == {"weights_differ": 0, "losses_differ": 0}
    assert written["sections"]["pretraining"].keys() == {"ZeRO-1, 4 of 8", "ZeRO-2, 4 of 8"}
    assert written["sections"]["profile"]["synchronisations of pipeline.pretrain"] == {"missing": "needs a GPU"}
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
    names = [f"ZeRO-{stage} {name}" for stage in (1, 2) for name in ("repeated", "killed")]
    assert dict(determinism(setting, fp8)) == dict.fromkeys(names, same)


SECTION = """
import json, os, subprocess, sys, time
name, out = sys.argv[1:3]
with open(out, "w") as file:
    json.dump({"first case": name}, file)
if name in ("checks", "update", "steps"):
    child = [sys.executable, "-c", "import time; time.sleep(1000)"]
    with open(out + ".child", "w") as file:
        file.write(str(subprocess.Popen(child, start_new_session=name == "steps").pid) + "\\n")
    if name == "checks":
        sys.exit("RuntimeError: illegal memory access")
    time.sleep(1000)
"""


@pytest.fixture
def pretended(monkeypatch):
    """Replace the sections by SECTION: `checks` starts a process and fails, `update` and `steps` start one and do not
    end. That of `steps` has a session of its own.
    """
    monkeypatch.setattr(program, "command", lambda name, out, _: [sys.executable, "-c", SECTION, name, str(out)])
    monkeypatch.setattr(program, "summary", lambda figures, failures: "summary")

    def deadline(process, seconds):
        """Come as soon as the process of a section has its child, however busy the machine is."""
        *_, name, out = process.args
        while name in ("update", "steps") and not child_of(Path(out)):
            assert process.poll() is None
            time.sleep(0.02)
        return None if name in ("update", "steps") else process.wait()

    monkeypatch.setattr(processes, "wait", deadline)


def child_of(out):
    """Process id that SECTION has written beside its figures, or 0."""
    written = Path(f"{out}.child")
    text = written.read_text() if written.exists() else ""
    return int(text) if text.endswith("\n") else 0


def is_running(pid):
    return psutil.pid_exists(pid) and processes.is_running(psutil.Process(pid))


def test_a_section_that_fails_loses_only_what_it_has_not_measured(tmp_path, pretended, capsys):
    """The other sections have their figures, and those until an error or the deadline are kept and said to be
    incomplete; the reason is written, and the status is 1. No child of a section outlives it.
    """
    names = ["products", "checks", "update", "steps", "kernels"]
    with pytest.raises(SystemExit):
        program.main(out=tmp_path, device="cpu", sections=names)
    assert result(tmp_path)["sections"] == {name: {"first case": name} for name in names}
    failures = result(tmp_path)["failures"]
    assert list(failures) == ["checks", "update", "steps"]
    assert failures["checks"] == "status 1: RuntimeError: illegal memory access; incomplete, 1 figures"
    assert failures["update"].startswith("ended after ") and failures["update"].endswith("; incomplete, 1 figures")
    assert "summary" in capsys.readouterr().out
    for name in ("checks", "update", "steps"):
        assert not is_running(child_of(tmp_path / f"{name}.json")), f"a process of {name} is left"


def test_a_process_is_ended_at_its_deadline(tmp_path):
    """The status of one that ends before it is returned, and its output is in the log."""
    assert processes.run([sys.executable, "-c", "import time; time.sleep(1000)"], 0.1, tmp_path / "log") is None
    assert processes.run([sys.executable, "-c", "print(5); exit(3)"], 1000, tmp_path / "log") == 3
    assert (tmp_path / "log").read_text() == "5\n"


def test_figures_are_written_one_by_one(tmp_path):
    """A section that fails leaves those that it has measured, and a name that comes again has its last value."""

    def figures():
        yield "errors", 1
        yield "failed", []
        yield "errors", 2
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        sections.write(figures(), tmp_path / "section.json")
    assert json.loads((tmp_path / "section.json").read_text()) == {"errors": 2, "failed": []}


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
        "determinism": {"ZeRO-1 killed": {"weights_differ": 3, "losses_differ": 0}},
    }
    speed, checks = summary(figures, {"kernels": "ended after 120 s"}).splitlines()
    assert "phase1 2,000 sequences/s, 1,800 with dropout; with dropout in FP8 2,200; Hugging Face 600" in speed
    assert "Hugging Face 600 (ours is 3.00x)" in speed
    assert speed.endswith("update at 80 % of a copy's bandwidth")
    assert "attention bf16 5.0e-01; ZeRO-1 killed run DIFFERS" in checks and checks.endswith(
        "kernels: ended after 120 s"
    )


def test_attributes_of_torch_that_are_missing_are_found():
    """Names are followed through imports and aliases, and those of other objects are left alone."""
    source = "import os, torch\nfrom torch import nn as layers\nimport triton.language as tl\n"
    names = attributes.named(f"{source}x = torch.ones(3).made_up\nlayers.Linear.forward\ntl.made_up\nx.y\nos.made_up")
    used = {"torch.ones", "torch.nn.Linear", "torch.nn.Linear.forward", "triton.language.made_up"}
    assert names == {"torch", "torch.nn", "triton.language", *used}
    assert [name for name in names if attributes.is_missing(name)] == ["triton.language.made_up"]


def test_a_wrong_sequence_is_not_hidden_by_shorter_ones():
    """Neither small values of a long sequence nor small gradients of its queries count less than those beside them."""
    lengths = [100, 1]
    out = torch.cat([torch.full((100, 2, 4), 1e-3), torch.ones(1, 2, 4)]).double()
    wrong = out.clone()
    wrong[:100] = 0
    assert attention.error_of(out.float(), out, lengths) < 1e-6 and attention.error_of(wrong, out, lengths) == 1
    gradient = torch.stack([out / 50, out, out], 1)
    wrong = gradient.clone()
    wrong[:100, 0] = 0
    assert attention.error_of(wrong, gradient, lengths) == 1
