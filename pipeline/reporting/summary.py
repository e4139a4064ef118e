"""The summary of a run for the terminal."""

import statistics

from pipeline.reporting.verdict import verdict_of
from pipeline.runlog.reader import Run, is_number
from pipeline.runtime.formatting import printable


def summary(run: Run) -> str:
    """The summary as text: first and last held-out metrics, median throughput, peak memory, and the verdict."""
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
    rows += [f"  {sentence}" for sentence in verdict_of(run)]
    return "\n".join(rows)
