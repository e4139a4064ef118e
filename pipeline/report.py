"""Reports of runs: `python -m pipeline.report RUN... [--out report.html] [--png DIRECTORY]`, `--follow RUN`, or a
reference curve: `RUN --reference FILE`."""

import time
from pathlib import Path

from jsonargparse import ArgumentParser

from pipeline.reporting.summary import summary
from pipeline.runlog import reader
from pipeline.runlog.reader import Run
from pipeline.runtime import command
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
    if chosen.reference:
        from pipeline.reporting.reference import write

        write(reader.read_runs(chosen.runs), chosen.reference)
        print(chosen.reference)
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
    parser.add_argument(
        "--reference", type=Path, help="File to write the held-out curve of one finished run to, as a reference curve."
    )
    return parser


def _page(runs: list[Run], out: Path, pictures: Path | None) -> None:
    from pipeline.reporting import page as report_page

    if out.suffix == ".html":
        _directory(out.parent, "--out")
    if pictures is not None:
        _directory(pictures, "--png")
    made = report_page.make(runs, time.time())
    if out.suffix == ".html":
        write_text(out, report_page.page(made))
    if pictures is not None:
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


def main() -> None:
    """The installed command `bert-report`."""
    command.main(report)


if __name__ == "__main__":
    main()
