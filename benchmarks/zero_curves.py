"""Figure that shows why LAMB must know the partitions of ZeRO.

    python -m benchmarks.zero_curves --samples demo/data/samples128

The demo's model is trained on the same batches at ZeRO-2 on 1, 2 and 4 ranks, with ours and with timm's LAMB handed to
DeepSpeed as it is. Ours gives one curve; the other gives a different one at each number of ranks.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from jsonargparse import auto_cli

from benchmarks.measuring import train_losses

ROOT = Path(__file__).resolve().parent.parent
MODULES = {"ours": "pipeline.pretrain", "unaware": "benchmarks.unaware"}


def train(module: str, ranks: int, run: Path, samples: Path, steps: int, batch: int) -> list[float]:
    """Losses per step. The micro-batch is the same at any number of ranks, and with it the dropout."""
    options = {
        "recipe": ROOT / "pipeline" / "recipes" / "demo.toml",
        "run_dir": run,
        "data.samples": samples,
        "batch.global_batch_size": batch,
        "batch.micro_batch_size": batch // 4,
        "schedule.total_steps": steps,
        "engine.precision": "fp32",
        "evaluation.every": 0,
        "checkpoint.every": steps,
        "logging.every": 1,
        "logging.tensorboard": False,
    }
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher, "-m", module, *arguments], check=True, cwd=ROOT, env=environment)
    return train_losses(run)


def spread(curves: list[list[float]]) -> float:
    """The largest difference between the curves at any step, over their mean there."""
    return max((max(losses) - min(losses)) * len(losses) / sum(losses) for losses in zip(*curves, strict=True))


def plot(curves: dict[str, dict[int, list[float]]], path: Path) -> None:
    """Plot the curves of both optimizers and, below, their differences from the curve with the fewest ranks."""
    figure, axes = plt.subplots(
        2, 2, figsize=(11, 7), sharex=True, sharey="row", height_ratios=[3, 2], layout="constrained"
    )
    titles = {"unaware": "LAMB unaware of ZeRO (timm's)", "ours": "this one"}
    for (top, bottom), name in zip(axes.T, ("unaware", "ours"), strict=True):
        first, largest = next(iter(curves[name].values())), spread(list(curves[name].values()))
        for (ranks, losses), width in zip(curves[name].items(), (5, 2.5, 1), strict=False):
            steps, label = range(1, len(losses) + 1), f"{ranks} rank" + ("s" if ranks > 1 else "")
            top.plot(steps, losses, linewidth=width if name == "ours" else 1.3, label=label)
            if losses is not first:
                relative = [max(abs(a - b) / b, 1e-9) for a, b in zip(losses, first, strict=True)]
                bottom.semilogy(steps, relative, linewidth=1.3, color=top.lines[-1].get_color())
        top.set_title(f"{titles[name]}: curves differ by up to {largest:.1g} of the loss", fontsize=10)
        top.legend()
        bottom.set_xlabel("optimizer step")
        for axis in (top, bottom):
            axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("training loss (MLM + NSP, nats)")
    axes[1, 0].set_ylabel("relative difference\nfrom the first curve")
    figure.suptitle("The same model, batches and dropout under ZeRO-2, fp32")
    figure.savefig(path, dpi=120)


def main(
    samples: Path,
    out: Path = Path("runs/zero_curves"),
    steps: int = 200,
    batch: int = 64,
    ranks: tuple[int, ...] = (1, 2, 4),
) -> None:
    """Train each optimizer on each number of ranks, compare and draw.

    Args:
        samples: samples directory made by preprocessing.
        out: new directory for the runs, curves.json and curves.png.
        steps: optimizer steps.
        batch: samples per step, a multiple of 4 times the ranks.
        ranks: numbers of ranks, at most 4.
    """
    curves: dict[str, dict[int, list[float]]] = {}
    for name, module in MODULES.items():
        curves[name] = {
            number: train(module, number, out / f"{name}{number}", samples, steps, batch) for number in ranks
        }
        print(f"{name}: curves differ by up to {spread(list(curves[name].values())):.1e} of the loss")
    (out / "curves.json").write_text(json.dumps(curves))
    plot(curves, out / "curves.png")
    print(f"{out}/curves.png")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
