"""Display of a run while it trains: a live view on a terminal, otherwise a line at intervals."""

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.reporting.watch import View, Watch
from pipeline.runlog.event_text import event_text
from pipeline.runlog.reader import is_number
from pipeline.runtime.formatting import duration, printable
from pipeline.runtime.progress import SECONDS_BETWEEN_LINES

_SECONDS_BETWEEN_LOOKS = 1.0
_EVENTS_SHOWN = 6
_BLOCKS = "▁▂▃▄▅▆▇█"
_STYLES = {"finished": "bold green", "interrupted": "bold yellow", "failed": "bold red"}
_FIGURES = (
    ("loss", "loss", 1, "{:.4f}"),
    ("learning_rate", "learning rate", 1, "{:.3g}"),
    ("grad_norm", "gradient norm", 1, "{:.3g}"),
    ("tokens_per_second", "tokens/s", 1, "{:,.0f}"),
    ("mfu", "MFU", 100, "{:.1f} %"),
    ("loader_wait_share", "waiting for data", 100, "{:.1f} %"),
    ("peak_memory_gib", "peak memory", 1, "{:.1f} GiB"),
    ("skipped_steps", "skipped steps", 1, "{:.0f}"),
)


def follow(run: Path, console: Console | None = None, every: float = _SECONDS_BETWEEN_LOOKS) -> None:
    """Show a run until it has finished, was interrupted or has failed, or until Ctrl-C.

    Args:
        run: directory of the run.
        console: console on which to show it; the default is standard output.
        every: seconds between two updates.

    Raises:
        ValueError: there is no such directory.
    """
    console, watch = console or Console(highlight=False), Watch(run)
    try:
        if console.is_terminal:
            _live(console, watch, every)
        else:
            _lines(console, watch, every)
    except KeyboardInterrupt:
        console.print(Text(f"{watch.run}: no longer followed; the run continues", style="dim"))


def _live(console: Console, watch: Watch, every: float) -> None:
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            view = watch.look()
            live.update(panel(view, printable(watch.run), console.width), refresh=True)
            if view.ended:
                return
            time.sleep(every)


def _lines(console: Console, watch: Watch, every: float) -> None:
    """Print each new event and verdict, and the line of progress at intervals if it has changed."""
    shown, last, printed, judged = 0, "", float("-inf"), list[str]()
    while True:
        view = watch.look()
        # Of past events only the last few are printed; an event file that has shrunk belongs to another run.
        shown = max(0, len(view.events) - _EVENTS_SHOWN) if not last or shown > len(view.events) else shown
        for event in view.events[shown:]:
            _say(console, f"{_clock(event['time'])}  {event_text(event)}")
        shown, text = len(view.events), line(view)
        if view.verdict and view.verdict != judged:
            judged = view.verdict
            _say(console, " ".join(judged))
        if view.ended or (text != last and time.monotonic() - printed >= SECONDS_BETWEEN_LINES):
            _say(console, text)
            last, printed = text, time.monotonic()
        if view.ended:
            return
        time.sleep(every)


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
    if console.file is sys.stdout:
        sys.stdout.flush()


def line(view: View) -> str:
    """The state of a run as one line of text."""
    parts = [f"{printable(view.state)}  step {view.step}" + (f"/{view.total}" if view.total else "")]
    if view.train is not None:
        keys = ("loss", f"{view.terms[0].name}_accuracy", "tokens_per_second")
        parts += [f"{name} {text}" for name, text in figures(view.train, view, keys)]
    if view.silent:
        parts.append(warning(view))
    elif view.seconds_left is not None and not view.ended:
        parts.append(f"remaining {duration(round(view.seconds_left))}")
    return "  ".join(parts)


def warning(view: View) -> str:
    """Warning for a run without a heartbeat, in whole minutes, so that the line changes once a minute."""
    return f"no heartbeat for {round((view.silent_for or 0) // 60)} min"


def figures(values: dict[str, object], view: View, keys: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Names and formatted values of the metrics that are present: total loss, losses and accuracies of terms, metrics
    of a task, others.

    Args:
        values: a line of metrics.jsonl.
        view: the state of the run, with its terms and metrics.
        keys: keys of the metrics to return; all if empty.
    """
    of_terms = [
        entry
        for term in view.terms
        for entry in (
            (f"{term.name}_loss", f"{term.title} loss", 1, "{:.4f}"),
            (f"{term.name}_accuracy", f"{term.title} accuracy", 100, "{:.1f} %"),
        )
    ]
    of_task = [(name, name, 1, "{:.4f}") for name in view.metrics]
    found = []
    for key, name, scale, form in (_FIGURES[0], *of_terms, *of_task, *_FIGURES[1:]):
        value = values.get(key)
        if (key in keys or not keys) and key in values:
            text = form.format(value * scale) if is_number(value) else "not finite"  # type: ignore[operator]
            found.append((name, text))
    return found


def sparkline(values: Sequence[float], width: int) -> str:
    """A line chart of block characters with eight heights, in at most `width` columns of which each shows a mean."""
    width = min(width, len(values))
    edges = [round(column * len(values) / width) for column in range(width + 1)] if width else [0]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means, default=0), max(means, default=0)
    return "".join(_BLOCKS[round((mean - low) / (high - low) * 7) if high > low else 0] for mean in means)


def panel(view: View, name: str, width: int) -> RenderableType:
    """The state of a run as a panel for a terminal.

    Args:
        view: the state.
        name: name of the run.
        width: width of the terminal in columns.
    """
    state = Text(printable(view.state), style=_STYLES.get(view.state, "bold blue"))
    head = Text.assemble((name, "bold"), "  ", state)
    for word, what in (("on", view.host), ("job", view.job)):
        if what:
            head.append(f"  {word} {printable(what)}", style="dim")
    parts: list[RenderableType] = [head, _bar(view, width)]
    if view.silent:
        seconds = duration(view.silent_for or 0)
        cause = "the host may be down, or the job killed"
        parts.append(Text(f"no heartbeat for {seconds}: {cause}", style="bold red"))
    elif view.silent_for is not None and not view.ended:
        parts.append(Text(f"last heartbeat {duration(round(view.silent_for))} ago", style="dim"))
    elif view.silent_for is None:
        parts.append(Text("no heartbeat.json: it is unknown whether the run is training", style="dim"))
    if view.train is not None:
        parts += [Text(), _table(view)]
    if view.verdict:
        parts += [Text(), Text(" ".join(view.verdict))]
    if len(view.losses) > 1:
        spark = sparkline(view.losses, min(60, width - 24))
        parts += [Text(), Text.assemble("loss ", f"{view.losses[0]:.3f} ", (spark, "blue"), f" {view.losses[-1]:.3f}")]
    if view.events:
        parts.append(Text())
    for event in view.events[-_EVENTS_SHOWN:]:
        text = Text.assemble((_clock(event["time"]), "dim"), "  ", event_text(event))
        text.truncate(width, overflow="ellipsis")
        parts.append(text)
    return Group(*parts)


def _bar(view: View, width: int) -> RenderableType:
    of = f"step {view.step:,}" + (f" of {view.total:,}" if view.total else "")
    of += f"  {view.step / view.total:.1%}" if view.total else ""
    of += f"  {view.rate:.3g} steps/s" if view.rate else ""
    if view.seconds_left is not None and not view.ended:
        of += f"  remaining {duration(round(view.seconds_left))}"
    if view.total is None:
        return Text(of)
    grid = Table.grid(padding=(0, 2))
    if width < 70:  # the text is below the bar if it does not fit beside it
        grid.add_row(ProgressBar(total=view.total, completed=min(view.step, view.total), width=max(10, width - 2)))
        grid.add_row(Text(of))
    else:
        grid.add_row(ProgressBar(total=view.total, completed=min(view.step, view.total), width=width // 3), Text(of))
    return grid


def _table(view: View) -> RenderableType:
    train, heldout = view.train or {}, view.heldout or {}
    trained, known = dict(figures(train, view)), dict(figures(heldout, view))
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    table.add_column("", style="dim")
    table.add_column(f"step {train['step']:,}", justify="right")
    if heldout:
        table.add_column(f"held out, step {heldout['step']:,}", justify="right")
    for name, _ in figures(heldout | train, view):
        table.add_row(name, trained.get(name, ""), *([known.get(name, "")] if heldout else []))
    return table


def _clock(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # the time has no calendar date
        return "??-?? ??:??:??"
