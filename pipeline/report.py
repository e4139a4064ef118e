"""Reports of runs: `python -m pipeline.report RUN... [--out report.html] [--png DIRECTORY]`, or `--follow RUN`."""

import statistics
import time
from pathlib import Path

from jsonargparse import ArgumentParser

from pipeline.runlog import reader
from pipeline.runlog.reader import Run, is_number
from pipeline.runtime import command
from pipeline.runtime.formatting import printable
from preprocessing.files import write_text


def report(arguments: list[str]) -> None:
    """Parse the command line, then write a report or follow a run.

    Raises:
        ValueError: a run cannot be read, or options contradict each other.
    """
    chosen = _parser().parse_args(arguments)
    if chosen.follow:
        if len(chosen.runs) != 1:
            raise ValueError(f"--follow shows one run, {len(chosen.runs)} are given; open a terminal for each")
        # Imported here, as below: help texts and errors of options need no plotting library.
        from pipeline.reporting.follow import follow

        follow(chosen.runs[0])
        return
    if chosen.out.suffix not in (".html", ".png"):
        raise ValueError(f"--out {chosen.out}: must end in .html for a page or in .png for a picture of the curves")
    runs = reader.read_runs(chosen.runs)
    for run in runs:
        print(summary(run))
    if chosen.out.suffix == ".png":
        from pipeline.reporting.figures import save_curves

        _directory(chosen.out.parent, "--out")
        save_curves(runs, chosen.out)
    if chosen.out.suffix == ".html" or chosen.png:
        _page(runs, chosen.out, chosen.png)
    print(chosen.out)


def _parser() -> ArgumentParser:
    description = "Show the curves and the events of runs."
    parser = ArgumentParser(prog=command.program("pipeline.report"), description=description, exit_on_error=False)
    parser.add_argument("runs", nargs="+", type=Path, help="Run directories, shown side by side.")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("report.html"),
        help="A self-contained HTML page, or a picture of the curves if it ends in .png.",
    )
    parser.add_argument("--png", type=Path, help="Directory to which the pictures of the page are also written.")
    parser.add_argument("--follow", action="store_true", help="Show one run in the terminal while it trains.")
    return parser


def _page(runs: list[Run], out: Path, pictures: Path | None) -> None:
    from pipeline.reporting import page as report_page

    made = report_page.make(runs, time.time())
    if out.suffix == ".html":
        _directory(out.parent, "--out")
        write_text(out, report_page.page(made))
    if pictures is not None:
        _directory(pictures, "--png")
        for picture in made.pictures:
            (pictures / f"{picture.slug}.png").write_bytes(picture.png)
        print(f"{pictures}: {len(made.pictures)} pictures")


def _directory(path: Path, option: str) -> None:
    """Create a directory for output.

    Raises:
        ValueError: it cannot be created; the message names the option.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{option}: {path}: cannot be made a directory ({error.strerror}); give another one") from None


def summary(run: Run) -> str:
    """Return a table of the first and last held-out figures, the median throughput and the peak memory."""
    heldout = run.of("heldout")
    rows = [f"{printable(run.name)}, {run.last_step} steps"]
    if heldout:
        rows.append(f"  held out          step {heldout[0]['step']:<7} step {heldout[-1]['step']}")
        for key in (f"{term.name}_{figure}" for term in run.terms for figure in ("loss", "accuracy")):
            if key not in heldout[-1]:  # a term without counts has no accuracy
                continue
            first, last = (
                f"{line[key]:.4f}" if is_number(line.get(key)) else "not finite" for line in (heldout[0], heldout[-1])
            )
            rows.append(f"  {key:<16}  {first:<12} {last}")
    rates, memory = run.series("train", "tokens_per_second")[1], run.series("train", "peak_memory_gib")[1]
    rate = f"{statistics.median(rates):,.0f}" if rates else "none"
    rows.append(f"  tokens/s, median  {rate}" + (f"    peak memory of a rank  {memory[-1]:.1f} GiB" if memory else ""))
    return "\n".join(rows)


def main() -> None:
    """The installed command `bert-report`."""
    command.main(report)


if __name__ == "__main__":
    main()
