"""The last two lines of the benchmark: the speed, and what the checks found."""

from collections.abc import Mapping
from typing import Any

from benchmarks.gpu.rivals import best


def summary(figures: Mapping[str, Any], failures: Mapping[str, str]) -> str:
    """Two lines about the figures that there are.

    Args:
        figures: section -> its figures, which may be incomplete.
        failures: section -> why it has no figures, or not all.
    """
    return f"SPEED   {'; '.join(speeds(figures)) or 'not measured'}\nCHECKS  {'; '.join(verdicts(figures, failures))}"


def speeds(figures: Mapping[str, Any]) -> list[str]:
    """Sequences per second of our step, of a run under DeepSpeed and of Hugging Face, and the update's bandwidth."""
    said = []
    for phase in ("phase1", "phase2"):
        steps = figures.get("steps", {})
        in_fp8 = best({name: values for name, values in steps.items() if "fp8" in name}, phase)
        steps = {name: values for name, values in steps.items() if "fp8" not in name}
        ours, theirs = best(steps, phase), best(figures.get("huggingface", {}), phase)
        with_dropout = best({name: values for name, values in steps.items() if "dropout 0.1" in name}, phase)
        if ours:
            said.append(f"{phase} {ours:,.0f} sequences/s, {with_dropout:,.0f} with dropout")
        if in_fp8:
            said.append(f"with dropout in FP8 {in_fp8:,.0f}")
        if theirs:
            said.append(f"Hugging Face {theirs:,.0f}" + (f" (ours is {with_dropout / theirs:.2f}x)" if ours else ""))
    said += [
        f"{name}: {values['sequences_per_second']:,.0f}" for name, values in figures.get("pretraining", {}).items()
    ]
    if bounds := figures.get("update", {}).get("ours_over_bound"):
        said.append(f"update at {100 / bounds['copy']:.0f} % of a copy's bandwidth")
    return said


def verdicts(figures: Mapping[str, Any], failures: Mapping[str, str]) -> list[str]:
    """Errors above their limits, whether runs repeat bit for bit, and the sections without figures."""
    said = []
    if (failed := figures.get("checks", {}).get("failed")) is not None:
        errors = figures["checks"]["errors"]
        within = f"{len(errors)} errors within limits" if "checks" in failures else "all within limits"
        said.append(", ".join(f"{name} {errors[name]:.1e}" for name in failed) or within)
    for name, differing in figures.get("determinism", {}).items():
        is_equal = not any(differing.values())
        said.append(f"{name} run equal bit for bit" if is_equal else f"{name} run DIFFERS: {differing}")
    if (differing := figures.get("graphs", {}).get("tensors_differ")) is not None:
        said.append("graphs equal bit for bit" if not differing else f"graphs DIFFER in {differing} tensors")
    return said + [f"{name}: {why}" for name, why in failures.items()]
