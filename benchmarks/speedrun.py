"""What a recipe learns in some minutes on this machine's GPU: `benchmarks/gpu.sh speedrun --recipe R --samples DIR`.

Trains with `pipeline.pretrain` on one device from samples that are small enough to be carried to it, and prints the
held-out loss and accuracy over time. A repeated command resumes the run, or only prints its table.
"""

from pathlib import Path

from jsonargparse import auto_cli

from benchmarks.runs import heldout, train
from pipeline.reporting.summary import summary
from pipeline.runlog.reader import EVENTS, read_lines, read_runs
from pipeline.runlog.terms import Term, terms_of

MOST_MB = 60
"""Largest size of the samples, so that they can be sent to the device with the checkout."""
EVALUATION = {"--evaluation.every": "50", "--evaluation.samples": "2048"}
"""Unless the options say otherwise: recipes evaluate too seldom for a curve of a few minutes."""


def size_mb(samples: Path) -> float:
    """Size of a directory of samples in MB.

    Raises:
        ValueError: there is no such directory, or it is larger than `MOST_MB`.
    """
    if not (samples / "manifest.json").is_file():
        raise ValueError(f"samples = {samples}: no directory of samples; build one with `python -m preprocessing run`")
    size = sum(path.stat().st_size for path in samples.rglob("*") if path.is_file()) / 1e6
    if size > MOST_MB:
        raise ValueError(f"samples = {samples}: {size:.0f} MB, more than {MOST_MB}; build them from less text")
    return size


def table(run: Path) -> str:
    """Rows of minutes since the first line, step, and held-out loss and accuracy of each term, in Markdown."""
    lines = list(heldout(run).values())
    terms: tuple[Term, ...] = terms_of(read_lines(run / EVENTS)[0])
    names = [f"{term.name}_{figure}" for term in terms for figure in ("loss", "accuracy")]
    names = [name for name in names if name in lines[-1]]
    rows = [f"| minutes | step | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    for line in lines:
        minutes = (line["time"] - lines[0]["time"]) / 60
        rows.append(f"| {minutes:.1f} | {line['step']:,} | {' | '.join(f'{line[name]:.3f}' for name in names)} |")
    return "\n".join(rows)


def main(recipe: str, samples: Path, minutes: float = 5, out: Path = Path("speedrun"), options: list[str] = []) -> None:  # noqa: B006
    """Train and print the table.

    Args:
        recipe: name or file of the recipe.
        samples: directory of the samples.
        minutes: `schedule.minutes` of the run.
        out: directory of the run and its log.
        options: further options of pipeline.pretrain, which precede those of EVALUATION.

    Raises:
        ValueError: the samples are missing or too large.
        SystemExit: the run failed.
    """
    print(f"{samples}: {size_mb(samples):.0f} MB")
    run = out / "run"
    fixed = {"--data.samples": str(samples), "--schedule.minutes": str(minutes), "--schedule.total_steps": "0"}
    given = [text for pair in (EVALUATION | fixed).items() for text in pair]
    train(recipe, given + options, run, seed=1, ranks=1)
    print(table(run))
    print(summary(read_runs([run])[0]))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
