"""The summary of a run for the terminal."""

import statistics

from pipeline.reporting.verdict import verdict_of
from pipeline.runlog.reader import Line, Run, is_number
from pipeline.runtime.formatting import printable


def summary(run: Run) -> str:
    """The summary as text: held-out metrics, median throughput, peak memory, and the verdict.

    The held-out metrics are those of the first and the last evaluation, and of averaged weights where there are any.
    """
    rows = [f"{printable(run.name)}, {run.last_step} steps"]
    if heldout := run.of("heldout"):
        rows += _evaluations(run, [heldout[0], heldout[-1], *run.of("averaged")[-1:]])
    rates, memory = run.series("train", "tokens_per_second")[1], run.series("train", "peak_memory_gib")[1]
    rate = f"{statistics.median(rates):,.0f}" if rates else "none"
    rows.append(f"  tokens/s, median  {rate}" + (f"    peak memory of a rank  {memory[-1]:.1f} GiB" if memory else ""))
    rows += [f"  {sentence}" for sentence in verdict_of(run)]
    return "\n".join(rows)


def _evaluations(run: Run, lines: list[Line]) -> list[str]:
    """One row for each figure of each term and each metric of a task, with a column for each of these lines."""
    titles = [f"step {line['step']}" if line["kind"] == "heldout" else "averaged weights" for line in lines]
    of_terms = (f"{term.name}_{figure}" for term in run.terms for figure in ("loss", "accuracy"))
    keys = [key for key in (*of_terms, *run.metrics) if key in lines[1]]  # a term without counts has no accuracy
    width = max(16, *map(len, keys)) if keys else 16
    rows = [f"  {'held out':<{width}}  " + "".join(f"{title:<13}" for title in titles).rstrip()]
    for key in keys:
        cells = [f"{line[key]:.4f}" if is_number(line.get(key)) else "not finite" for line in lines]
        rows.append(f"  {key:<{width}}  " + "".join(f"{cell:<13}" for cell in cells).rstrip())
    return rows
