"""Speed of preprocessing compared with other systems: `python -m benchmarks.preprocessing --corpus FILE --vocab FILE`.

The sides take turns round after round, each as a new process on the same text and cores: `python -m preprocessing run`;
NVIDIA's LDDL (peers/lddl_shim.py); Hugging Face's run_mlm.py (peers/blocks.py); and splitting and tokenizing alone
(peers/ceiling.py). Then this project's stages run on the whole corpus with one worker and with two. The peers are
installed into virtual environments of their own, as pinned in peers/environments.py.
"""

import json
import shutil
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from benchmarks.peers.environments import SUBSTITUTIONS, make_environments
from benchmarks.peers.inputs import Inputs, write_inputs
from benchmarks.peers.sides import SIDES, Output, preprocessing
from benchmarks.processes import Usage, timed

_MEGABYTE = 10**6
_SCALING_PARTITIONS = 16
"""Number of partitions with which two workers end at about the same time."""


def main(
    corpus: Path,
    vocab: Path,
    environments: Path | None = None,
    num_documents: int = 2444,
    rounds: int = 5,
    scaling_rounds: int = 3,
    cores: tuple[int, int] = (0, 1),
    out: Path | None = None,
) -> None:
    """Time all sides and print Markdown tables.

    Args:
        corpus: JSON Lines with a key `text`, plain or .gz.
        vocab: a vocab.txt for all sides.
        environments: directory of the peers' virtual environments, which are made where they are missing; by default a
            temporary one.
        num_documents: number of documents, from the beginning of the corpus, that the sides read.
        rounds: turns behind each median.
        scaling_rounds: turns for the whole corpus with one worker and with two; 0: not measured.
        cores: numbers of the two cores; the first is used for runs on one.
        out: JSON file of the results.
    """
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        pythons = make_environments(environments or work / "environments")
        inputs = write_inputs(work / "inputs", corpus, vocab, num_documents)
        runs = take_turns(inputs, pythons, cores, rounds, work / "out")
        result: dict[str, Any] = {"megabytes": inputs.num_bytes / _MEGABYTE, "substitutions": SUBSTITUTIONS}
        result["sides"] = [summary(inputs.num_bytes, *key, *values) for key, values in runs.items()]
        print(table(result["sides"]))
        print("\nLDDL runs with: " + "; ".join(SUBSTITUTIONS) + ".\n")
        if scaling_rounds:
            whole = write_inputs(work / "whole", corpus, vocab, None)
            result["scaling"] = scaling(whole, cores, scaling_rounds, work / "scaling")
            print(scaling_table(result["scaling"], whole.num_bytes))
    if out:
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


Runs = dict[tuple[str, int], tuple[list[Usage], list[Output]]]
"""Usage and output of each round, by side and number of cores."""


def take_turns(inputs: Inputs, pythons: dict[str, str], cores: tuple[int, int], rounds: int, out: Path) -> Runs:
    """Run every side on one core and on two in each round, so that other load on the machine affects all of them."""
    runs: Runs = {(name, number): ([], []) for name in SIDES for number in (1, 2)}
    for _ in range(rounds):
        for (name, number), (usages, outputs) in runs.items():
            side = SIDES[name]
            shutil.rmtree(out, ignore_errors=True)
            command = side.command(inputs, pythons[side.environment], out, number)
            usage = timed(command, cores[:number], side.variables(number))
            usages.append(usage)
            outputs.append(side.output(out, usage.output))
            print(f"{name}, {number} cores: {usage.seconds:.2f} s, {usage.cpu_seconds:.1f} CPU s", file=sys.stderr)
    return runs


def summary(num_bytes: int, name: str, num_cores: int, usages: list[Usage], outputs: list[Output]) -> dict[str, Any]:
    """Return the medians of one side's rounds, and the rounds themselves.

    `seconds` is the time of the whole process, or for a ceiling the time without start and reading.
    """
    own = [output.seconds for output in outputs if output.seconds is not None]
    wall = [usage.seconds for usage in usages]
    seconds = statistics.median(own if SIDES[name].is_ceiling else wall)
    return {
        "name": name,
        "cores": num_cores,
        "seconds": seconds,
        "seconds_without_start": statistics.median(own) if own else None,
        "cpu_seconds": statistics.median(usage.cpu_seconds for usage in usages),
        "megabytes_per_second_per_core": num_bytes / _MEGABYTE / seconds / num_cores,
        "peak_bytes": max(usage.peak_bytes for usage in usages),
        **{key: value for key, value in asdict(outputs[-1]).items() if key != "seconds"},
        "rounds": [{"seconds": usage.seconds, "cpu_seconds": usage.cpu_seconds} for usage in usages],
        "rounds_without_start": own,
    }


def table(sides: list[dict[str, Any]]) -> str:
    """Return the sides as Markdown; `times ours` is the time divided by that of the first side on as many cores."""
    ours = {side["cores"]: side["seconds"] for side in sides if side["name"] == sides[0]["name"]}
    available = max(side["tokens"] for side in sides if SIDES[side["name"]].is_ceiling)
    lines = [
        "| | cores | s | s without start | CPU s | MB/s per core | times ours | samples | tokens | of the text's "
        f"{available:,} | bytes per token | peak GB |",
        "|---" * 12 + "|",
    ]
    for side in sides:
        of_text = f"{side['own_tokens'] / available:.1%}" if side["own_tokens"] else ""
        per_token = f"{side['bytes'] / side['tokens']:.2f}" if side["bytes"] else ""
        own = f"{side['seconds_without_start']:.2f}" if side["seconds_without_start"] else ""
        lines.append(
            f"| {side['name']} | {side['cores']} | {side['seconds']:.2f} | {own} | {side['cpu_seconds']:.1f} | "
            f"{side['megabytes_per_second_per_core']:.2f} | {side['seconds'] / ours[side['cores']]:.2f} | "
            f"{side['samples'] or ''} | {side['tokens']:,} | {of_text} | {per_token} | {side['peak_bytes'] / 1e9:.2f} |"
        )
    return "\n".join(lines)


def scaling(inputs: Inputs, cores: tuple[int, int], rounds: int, out: Path) -> dict[str, dict[int, list[float]]]:
    """Return the seconds of `extract` and `build` on the whole corpus, by number of workers."""
    seconds: dict[str, dict[int, list[float]]] = {"extract": {1: [], 2: []}, "build": {1: [], 2: []}}
    for _ in range(rounds):
        for workers in (1, 2):
            shutil.rmtree(out, ignore_errors=True)
            for stage in ("extract", "tokenizer", "build"):
                command = preprocessing(stage, inputs, out, workers, _SCALING_PARTITIONS)
                usage = timed(command, cores[:workers])
                if stage in seconds:
                    seconds[stage][workers].append(usage.seconds)
                print(f"{stage}, {workers} workers: {usage.seconds:.2f} s", file=sys.stderr)
    return seconds


def scaling_table(seconds: dict[str, dict[int, list[float]]], num_bytes: int) -> str:
    """Return the result of `scaling` as Markdown."""
    lines = [f"| {num_bytes / _MEGABYTE:.0f} MB | 1 worker, s | 2 workers, s | times as fast |", "|---|---|---|---|"]
    for stage, by_workers in seconds.items():
        one, two = (statistics.median(by_workers[workers]) for workers in (1, 2))
        lines.append(f"| {stage} | {one:.2f} | {two:.2f} | {one / two:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
