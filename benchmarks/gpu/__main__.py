"""Checks and measurements on one GPU: `benchmarks/gpu.sh [--deadline SECONDS] [--sections NAMES]`.

Every section runs in a process of its own, and its figures are in gpu.json as soon as it has ended. An error, a crash
of the device or the deadline loses only those figures of one section that it had not measured yet. gpu.log has what the
sections printed. The last two lines summarise the speed and the checks. `--device cpu --tiny true` runs the same code
where there is no GPU, to keep it working; its figures are meaningless.
"""

import importlib.util
import json
import signal
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli

from benchmarks.gpu import processes
from benchmarks.gpu.sections import SECTIONS
from benchmarks.gpu.summary import summary
from preprocessing.files import write_text

PACKAGES = ("triton", "deepspeed", "transformers", "liger-kernel", "flash-attn")
LEAST_SECONDS = 15
"""A section is not started with less time left."""


def versions() -> dict[str, str]:
    """Return the versions on which the figures depend: of Python, torch and the installed ones of `PACKAGES`."""
    found = {name: importlib.util.find_spec(name.replace("-", "_")) for name in PACKAGES}
    installed = {name: metadata.version(name) for name, spec in found.items() if spec}
    return {"python": sys.version.split()[0], "torch": torch.__version__} | installed


def run(name: str, options: list[str], seconds: float, log: Path) -> tuple[dict[str, Any], str]:
    """Run a section for so many seconds at most; return its figures, and why they are incomplete if they are."""
    written = log.with_name(f"{name}.json")
    written.unlink(missing_ok=True)
    with log.open("a") as output:
        output.write(f"== {name}\n")
    status = processes.run(command(name, written, options), seconds, log)
    figures = json.loads(written.read_text()) if written.exists() else {}
    if status is None:
        return figures, f"ended after {seconds:.0f} s"
    if status:
        return figures, f"status {status}: {log.read_text(errors='replace').strip().splitlines()[-1][:300]}"
    return figures, ""


def command(name: str, out: Path, options: list[str]) -> list[str]:
    """The command of a section."""
    return [sys.executable, "-m", "benchmarks.gpu.sections", name, str(out), *options]


def main(
    out: Path = Path("gpu"),
    device: str = "cuda",
    tiny: bool = False,
    rounds: int = 10,
    deadline: float = 400,
    sections: list[str] = [*SECTIONS],  # noqa: B006  jsonargparse reads it
) -> None:
    """Run the sections in their order.

    Args:
        out: directory of gpu.json, gpu.log and NAME.json, which has the figures of a section while it runs.
        device: torch device.
        tiny: small shapes, to run the code where there is no GPU.
        rounds: number of calls of which each median is taken.
        deadline: seconds after which no section runs any more.
        sections: names of the sections to run.

    Raises:
        ValueError: there is no such section.
        SystemExit: a section failed, or a check found a difference.
    """
    for name in sections:
        if name not in SECTIONS:
            raise ValueError(f"--sections: there is no section {name}; there are {', '.join(SECTIONS)}")
    begin = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu.log").write_text("")
    device_name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    result: dict[str, Any] = {
        "device": device_name, "date": time.strftime("%Y-%m-%d"), "versions": versions(), "tiny": tiny,
    }  # fmt: skip
    print(json.dumps(result), flush=True)
    options = ["--device", device, "--tiny", str(tiny).lower(), "--rounds", str(rounds)]
    figures: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for name in sections:
        started, left = time.monotonic(), deadline - (time.monotonic() - begin)
        found, failure = dict[str, Any](), "not run: the deadline"
        if left >= LEAST_SECONDS:
            found, failure = run(name, options, left if tiny else min(left, SECTIONS[name].seconds), out / "gpu.log")
        figures |= {name: found} if found else {}
        failures |= {name: failure + f"; incomplete, {len(found)} figures" * bool(found)} if failure else {}
        write_text(out / "gpu.json", json.dumps(result | {"sections": figures, "failures": failures}, indent=2) + "\n")
        print(f"{name}: {time.monotonic() - started:.0f} s  {failure or 'done'}", flush=True)
    print(summary(figures, failures))
    if failures or figures.get("checks", {}).get("failed"):
        raise SystemExit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("interrupted"))  # so that the section's processes are ended
    auto_cli(main, as_positional=False)
