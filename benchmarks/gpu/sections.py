"""The sections, and the program that runs one of them: `python -m benchmarks.gpu.sections NAME --out FILE`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import auto_cli

from benchmarks import attention, kernels
from benchmarks.gpu.checks import checks
from benchmarks.gpu.graphs import graphs
from benchmarks.gpu.rivals import huggingface_steps
from benchmarks.gpu.runs import determinism, pretraining
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.steps import products, profiled, steps, update
from preprocessing.files import write_text

Figures = Iterator[tuple[str, Any]]


class Section(NamedTuple):
    """One part of the benchmark."""

    run: Callable[[Setting], Figures]
    """Yields each figure by name as soon as it is measured; a name that comes again has a new value."""
    seconds: int
    """Longest time of the section on a GPU, compilation of its kernels included."""


def measure_kernels(setting: Setting, tiles: bool) -> Figures:
    """Times of all kernels or, with `tiles`, of attention with other tiles than those that it takes by itself."""
    lengths = {"phase 1": [setting.length] * setting.micro_batches[-1], "phase 2": setting.packed}
    lengths = {"ragged": [5, 20]} if setting.tiny else lengths  # Triton's interpreter is slow
    heads, head_dim = (2, 32) if setting.tiny else (16, 64)
    regions = attention.regions(setting.device, lengths, heads, head_dim, tiles)
    if tiles:
        return kernels.times(regions, setting.device, setting.tiny, setting.rounds)
    return kernels.measure(setting.device, setting.tiny, setting.rounds, regions)


SECTIONS: dict[str, Section] = {
    "steps": Section(steps, 130),
    "checks": Section(checks, 130),
    "pretraining": Section(pretraining, 150),
    "determinism": Section(determinism, 120),
    "products": Section(products, 30),
    "update": Section(update, 40),
    "profile": Section(profiled, 70),
    "kernels": Section(lambda setting: measure_kernels(setting, tiles=False), 120),
    "graphs": Section(graphs, 90),
    "huggingface": Section(huggingface_steps, 240),
    "tiles": Section(lambda setting: measure_kernels(setting, tiles=True), 240),
}
"""In the order of their worth, because device time is scarce: compiled comparisons last."""


def main(name: str, out: Path, device: str = "cuda", tiny: bool = False, rounds: int = 10) -> None:
    """Run one section and write its figures, as many as there are, after each of them.

    Args:
        name: the section.
        out: JSON file.
        device: torch device.
        tiny: small shapes, to run the code where there is no GPU.
        rounds: number of calls of which each median is taken.

    Raises:
        ValueError: there is no such section.
    """
    if name not in SECTIONS:
        raise ValueError(f"name = {name}: no such section; there are {', '.join(SECTIONS)}")
    write(SECTIONS[name].run(Setting(torch.device(device), tiny, rounds)), out)


def write(figures: Figures, out: Path) -> None:
    """Write the figures that there are so far to a JSON file, whenever there is a new one."""
    found: dict[str, Any] = {}
    for name, value in figures:
        found[name] = value
        write_text(out, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    auto_cli(main, as_positional=True)
