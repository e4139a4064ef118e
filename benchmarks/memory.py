"""Measured memory of preprocessing: `python -m benchmarks.memory --gb 10 --folder DIR --json memory.json`.

Runs `python -m preprocessing run` on a synthetic corpus of a given size, or on any --sources, and reads the memory of
its processes from /proc five times a second. RSS includes the pages of mapped files, which the kernel can reclaim;
anonymous memory is what the process has allocated itself. The corpus repeats 16 MB of text whose word frequencies
follow Zipf's law; each copy of a document has a different first sentence, so that no two documents are equal. The
benchmark runs on Linux only, and the folder needs space for four times the corpus.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jsonargparse import ArgumentParser

BLOCK_BYTES = 16 * 10**6
NUM_WORDS = 2 * 10**5
"""Number of distinct words of the synthetic language. A partition of English has more, but most have few pieces."""
SECONDS_BETWEEN_SAMPLES = 0.2
FIGURES = {"Rss": "rss", "Pss": "pss", "Anonymous": "anonymous"}
"""Lines of /proc/PID/smaps_rollup, in kB, and their names in this benchmark."""

Peaks = dict[str, dict[str, dict[str, float]]]
"""Stage -> process ("parent", "worker") -> figure -> MiB; for workers the largest of all."""


def main(folder: Path, gb: float, sources: list[str], workers: int, json_path: Path | None, options: list[str]) -> int:
    """Makes the corpus, runs preprocessing on it, prints the peaks and returns the run's exit status.

    Args:
        folder: for the corpus (kept if it is there already) and the output.
        gb: size of the corpus in GB.
        sources: to be read instead of a made-up corpus.
        workers: number of worker processes.
        json_path: where to write the result.
        options: further options of `python -m preprocessing run`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not sources:
        corpus = folder / f"corpus-{gb:g}gb.jsonl"
        if not corpus.exists():
            write_corpus(corpus, int(gb * 10**9))
        sources = [f"jsonl:{corpus}"]
    out = folder / "out"
    command = ["run", "--out", str(out), "--sources", *sources, "--workers", str(workers), *options]
    start = time.monotonic()
    run = subprocess.Popen([sys.executable, "-m", "preprocessing", *command])
    peaks = watch(run, out)
    result = {"command": command, "seconds": round(time.monotonic() - start), "status": run.returncode, "mib": peaks}
    print(json.dumps(result, indent=2))
    if json_path:
        json_path.write_text(json.dumps(result, indent=2) + "\n")
    return run.returncode


def write_corpus(path: Path, num_bytes: int) -> None:
    """Writes JSON Lines of about `num_bytes`."""
    documents = list(made_up_documents())
    temporary = path.with_suffix(".part")
    with temporary.open("w", encoding="ascii", buffering=1 << 20) as file:
        copy = 0
        while file.tell() < num_bytes:
            for number, text in enumerate(documents):
                file.write(f'{{"text": "This is document {number} of copy {copy}. {text}"}}\n')
            copy += 1
    temporary.rename(path)


def made_up_documents() -> Iterator[str]:
    """BLOCK_BYTES of documents of 1 to 200 sentences of 3 to 40 words; word n is 1 / n as frequent as the first."""
    random = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkqjxz"))
    lengths = random.integers(2, 10, NUM_WORDS)
    words = ["".join(letters[random.integers(0, len(letters), length)]) for length in lengths]
    size = 0
    while size < BLOCK_BYTES:
        sentences = []
        for length in random.integers(3, 41, random.integers(1, 201)):
            ranks = (NUM_WORDS ** random.random(length)).astype(int) - 1  # (length,) by Zipf's law
            sentences.append(" ".join(words[rank] for rank in ranks).capitalize() + ".")
        text = " ".join(sentences)
        size += len(text)
        yield text


def watch(run: subprocess.Popen, out: Path) -> Peaks:
    """The most memory that the run's processes held, until it ends."""
    peaks: Peaks = {}
    while run.poll() is None:
        stage = peaks.setdefault(current_stage(out), {})
        for process, pid in [("parent", run.pid), *(("worker", child) for child in children(run.pid))]:
            peak = stage.setdefault(process, dict.fromkeys(FIGURES.values(), 0.0))
            for name, value in memory(pid).items():
                peak[name] = max(peak[name], value)
        time.sleep(SECONDS_BETWEEN_SAMPLES)
    return peaks


def current_stage(out: Path) -> str:
    """The stage that a run works on: the first that has no manifest yet."""
    stages = {"documents": "extract", "tokenizer": "tokenizer"}
    return next((stage for name, stage in stages.items() if not (out / name / "manifest.json").exists()), "build")


def children(pid: int) -> list[int]:
    """The processes that a process started, but for multiprocessing's resource tracker."""
    pids = [int(child) for child in read(f"/proc/{pid}/task/{pid}/children").split()]
    return [child for child in pids if "spawn_main" in read(f"/proc/{child}/cmdline")]


def memory(pid: int) -> dict[str, float]:
    """FIGURES of a process in MiB; none once it has ended."""
    pairs = (line.split()[:2] for line in read(f"/proc/{pid}/smaps_rollup").splitlines()[1:])
    return {FIGURES[name[:-1]]: round(int(kilobytes) / 1024, 1) for name, kilobytes in pairs if name[:-1] in FIGURES}


def read(path: str) -> str:
    """A file of /proc, empty once its process has ended."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--folder", type=Path, required=True, help="For the corpus and the output.")
    parser.add_argument("--gb", type=float, default=10, help="Size of the made-up corpus in GB.")
    parser.add_argument("--sources", type=str, nargs="+", default=[], help="Read these instead.")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="Worker processes.")
    parser.add_argument("--json", type=Path, help="Where to write the result.")
    parser.add_argument(
        "--options", type=str, default="", help="Further options of `preprocessing run`, in one string."
    )
    given = parser.parse_args()
    sys.exit(main(given.folder, given.gb, given.sources, given.workers, given.json, given.options.split()))
