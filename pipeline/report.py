"""Curves of one or several runs as a picture: `python -m pipeline.report RUN... --out curves.png`."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from jsonargparse import ArgumentParser

from pipeline import command, metrics

PANELS = (
    ("mlm_loss", "masked-token loss (nats)"),
    ("mlm_accuracy", "masked-token accuracy"),
    ("nsp_loss", "next-sentence loss (nats)"),
    ("nsp_accuracy", "next-sentence accuracy"),
    ("learning_rate", "learning rate"),
    ("tokens_per_second", "tokens/s, all ranks"),
)


def report(arguments: list[str]) -> None:
    """Parse and draw."""
    parser = ArgumentParser(prog="report", description="Draw the curves of runs.", exit_on_error=False)
    parser.add_argument("runs", nargs="+", type=Path, help="Run directories, drawn side by side.")
    parser.add_argument("--out", type=Path, default=Path("curves.png"), help="The picture, PNG.")
    chosen = parser.parse_args(arguments)
    runs = {run.name if len(chosen.runs) == 1 else str(run): load(run) for run in chosen.runs}
    for name, lines in runs.items():
        print(summary(name, lines))
    draw(runs, chosen.out)
    print(chosen.out)


def load(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.

    Raises:
        ValueError: there are none.
    """
    path = run / "metrics.jsonl"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the run_dir of a recipe that has been trained")
    lines = list(metrics.read(path))
    if not any(line["kind"] == "train" for line in lines):
        raise ValueError(f"{path}: no training step yet")
    return lines


def summary(name: str, lines: list[dict[str, Any]]) -> str:
    """First and last held-out figures, and the throughput, as a small table."""
    heldout = [line for line in lines if line["kind"] == "heldout"]
    train = [line for line in lines if line["kind"] == "train"]
    rows = [f"{name}, {train[-1]['step']} steps"]
    if heldout:
        rows.append(f"  held out          step {heldout[0]['step']:<7} step {heldout[-1]['step']}")
        for key in ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"):
            rows.append(f"  {key:<16}  {heldout[0][key]:<12.4f} {heldout[-1][key]:.4f}")
    rate = statistics.median(line["tokens_per_second"] for line in train)
    rows.append(f"  tokens/s, median  {rate:,.0f}    peak memory of a rank  {train[-1]['peak_memory_gib']:.1f} GiB")
    return "\n".join(rows)


def draw(runs: dict[str, list[dict[str, Any]]], out: Path) -> None:
    """One panel per figure: training as a thin line, held out as dots."""
    figure, axes = plt.subplots(3, 2, figsize=(11, 10), sharex=True, layout="constrained")
    for axis, (key, label) in zip(axes.flat, PANELS, strict=True):
        for number, (name, lines) in enumerate(runs.items()):
            color = f"C{number}"
            for kind, style in (("train", {"linewidth": 1.0}), ("heldout", {"marker": "o", "linestyle": "--"})):
                points = [
                    (line["step"], line[key]) for line in lines if line["kind"] == kind and line.get(key) is not None
                ]
                if points:
                    legend = f"{name}, {'training' if kind == 'train' else 'held out'}"
                    axis.plot(*zip(*points, strict=True), color=color, label=legend, **style)
        axis.set_title(label, fontsize=10)
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("optimizer step")
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    command.main(report)
