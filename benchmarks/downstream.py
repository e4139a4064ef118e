"""Results of models after fine-tuning, by `pipeline.finetune` and by `transformers.Trainer` with equal settings.

    python -m benchmarks.downstream --out DIR --glue GLUE --squad squad-v1.1-dev.json.gz --tokens wnut17 \\
        --models '[models/base]' --sides '[pipeline,trainer]'
    python -m benchmarks.downstream --out DIR --glue GLUE --squad squad-v1.1-dev.json.gz --tokens wnut17 \\
        --models '[models/base,"random:models/base","frozen:models/base"]'

The first command shows whether fine-tuning is right, the second one whether pre-training pays. A model is a directory
that `transformers` loads. random:DIR has random weights of its shape, drawn from the seed of a run; frozen:DIR keeps
its encoder as it is and trains the head alone. Both sides read the same subsets of the examples (`downstream_data.py`)
and have the settings of the same recipe: `--rate`, `--options`, and the published ones for the rest. The result of a
run is the metric of the task that chooses the epoch, for the best epoch on dev.

Each run leaves a file with its result in DIR; a repeated command does only the runs that are missing, and prints the
table of all. `Trainer` needs the package accelerate: `pip install --no-deps accelerate`.
"""

import shutil
import statistics
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import transformers
from jsonargparse import auto_cli

from benchmarks.downstream_data import Subset, write_subset
from benchmarks.downstream_trainer import finetuned_score
from benchmarks.measuring import processor
from pipeline.conversion.huggingface import copy_tokenizer
from pipeline.jobs.finetuning.recipe import FinetuningRecipe, parse, plain
from pipeline.jobs.finetuning.run import finetune
from pipeline.runtime.signals import StopSignals
from pipeline.tasks.glue import GLUE
from preprocessing.files import read_json, write_json

Side = Literal["pipeline", "trainer"]
RANDOM, FROZEN = "random:", "frozen:"
TASKS = ("sst2", "cola", "mrpc", "rte", "squad", "tokens")


class Result(NamedTuple):
    """What a run leaves."""

    score: float
    """The metric of the task."""
    seconds: float
    """Processor time, with reading the model and the examples, and evaluations."""


@dataclass(frozen=True)
class Variant:
    """A column of the table."""

    model: str
    """Directory, random:DIR or frozen:DIR."""
    side: Side

    @property
    def title(self) -> str:
        """Heading of the column."""
        return f"{self.model}, {self.side}"

    @property
    def directory(self) -> str:
        """Directory of its results below that of the benchmark."""
        return f"{self.model.strip('/').replace('/', '_').replace(':', '-')}-{self.side}"


@dataclass(frozen=True)
class Benchmark:
    """Where the runs are, and their settings."""

    out: Path
    data: dict[str, Path]
    """Subset of each task."""
    rate: float
    options: list[str]

    def result(self, variant: Variant, task: str, seed: int) -> Result:
        """Returns the result of a run, which is done unless it has been done before.

        Raises:
            ValueError: it was done with other settings.
        """
        place = self.out / "results" / variant.directory / f"{task}-{seed}"
        recipe, done = self.recipe(variant, task, seed, place), place.with_suffix(".json")
        settings = plain(recipe)
        if not done.is_file():
            done.parent.mkdir(parents=True, exist_ok=True)
            begin = time.process_time()
            score = self.score(recipe, variant.side, place.with_suffix(".log"))
            write_json(done, {"score": score, "seconds": time.process_time() - begin, "settings": settings})
            shutil.rmtree(place, ignore_errors=True)  # models and checkpoints take more room than the results are worth
        found = read_json(done)
        if found["settings"] != settings:
            raise ValueError(f"{done}: is the result of another recipe; choose another --out, or remove the file")
        return Result(found["score"], found["seconds"])

    def recipe(self, variant: Variant, task: str, seed: int, run: Path) -> FinetuningRecipe:
        """Returns the recipe of a run; of Trainer it has the settings alone."""
        model = variant.model.removeprefix(RANDOM).removeprefix(FROZEN)
        if variant.model.startswith(RANDOM):
            model = str(random_model(Path(model), self.out / "models" / f"{variant.directory}-{seed}", seed))
        places = ["--model", model, "--data", str(self.data[task]), "--out", str(run)]
        settings = ["--seed", str(seed), "--optimizer.lr", str(self.rate), "--logging.tensorboard", "false"]
        frozen = ["--training.frozen_encoder", "true"] if variant.model.startswith(FROZEN) else []
        return parse([task, *places, *settings, *frozen, *self.options])

    def score(self, recipe: FinetuningRecipe, side: Side, log: Path) -> float:
        """Fine-tunes a model and returns the result; what it prints is appended to a log."""
        with log.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
            if side == "trainer":
                return finetuned_score(recipe)
            results = finetune(recipe, StopSignals())
        score: float = results["results"]["dev"][results["metric"]]
        return score


def random_model(directory: Path, out: Path, seed: int) -> Path:
    """Writes an encoder with random weights of the shape of a model, and its tokenizer, unless it is there."""
    if not out.is_dir():
        torch.manual_seed(seed)
        temporary = out.with_suffix(".tmp")
        config = transformers.AutoConfig.from_pretrained(directory)
        transformers.AutoModel.from_config(config, dtype=torch.float32).save_pretrained(temporary)
        copy_tokenizer(directory, temporary)
        temporary.rename(out)
    return out


def cell(scores: Sequence[float]) -> str:
    """Returns the median and the range."""
    return f"{statistics.median(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})"


def comparison(one: Sequence[float], other: Sequence[float]) -> list[str]:
    """Returns the difference of the medians, and the larger one of the two ranges."""
    spread = max(max(scores) - min(scores) for scores in (one, other))
    return [f"{statistics.median(one) - statistics.median(other):+.3f}", f"{spread:.3f}"]


def table(variants: Sequence[Variant], results: dict[str, list[list[Result]]]) -> str:
    """Returns the Markdown table of all results, with the processor time of each column.

    Args:
        variants: the columns.
        results: task -> the results of each variant over the seeds.
    """
    compared = ["difference", "larger range"] if len(variants) == 2 else []
    heads = ["task", *(variant.title for variant in variants), *compared]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for task, columns in results.items():
        scores = [[result.score for result in column] for column in columns]
        last = comparison(*scores) if compared else []
        lines.append(f"| {' | '.join([task, *map(cell, scores), *last])} |")
    spent = [sum(result.seconds for columns in results.values() for result in columns[i]) for i in range(len(variants))]
    minutes = [f"{seconds / 60:.1f}" for seconds in spent]
    lines.append(f"| {' | '.join(['minutes of processor time', *minutes, *[''] * len(compared)])} |")
    return "\n".join(lines)


def main(
    out: Path,
    models: list[str],
    glue: Path | None = None,
    squad: Path | None = None,
    tokens: Path | None = None,
    tasks: list[str] = list(TASKS),  # noqa: B006  jsonargparse reads it
    sides: list[Side] = ["pipeline"],  # noqa: B006
    rate: float = 1e-4,
    seeds: int = 3,
    subset: Subset = Subset(),  # noqa: B008
    options: list[str] = [],  # noqa: B006
) -> None:
    """Do the missing runs and print a Markdown table with the median over the seeds and the range.

    Args:
        out: directory of the subsets, results and logs.
        models: directories, random:DIR or frozen:DIR.
        glue: directory with the directories of the tasks of GLUE.
        squad: file in the form of SQuAD, which is divided into train and dev by article.
        tokens: directory with files in the form of CoNLL.
        tasks: tasks of pipeline.finetune, a row for each.
        sides: programs that fine-tune each model: pipeline, trainer.
        rate: peak learning rate.
        seeds: runs of each, with the seeds 1, 2, ...: new weights, order of the samples and dropout.
        subset: the examples.
        options: further options of pipeline.finetune, for both sides.

    Raises:
        ValueError: a task has no data, or results in `out` have other settings.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    given: dict[str, Any] = {"squad": squad, "tokens": tokens} | dict.fromkeys(GLUE, glue)
    if missing := [task for task in tasks if given.get(task) is None]:
        option = "glue" if missing[0] in GLUE else missing[0]
        raise ValueError(f"--tasks {missing[0]}: has no data; give --{option}, or another task")
    data = {task: write_subset(task, given[task], out / "data" / task, subset) for task in tasks}
    benchmark = Benchmark(out, data, rate, options)
    variants = [Variant(model, side) for model in models for side in sides]
    results: dict[str, list[list[Result]]] = {task: [[] for _ in variants] for task in tasks}
    for seed in range(1, seeds + 1):
        for task in tasks:
            for column, variant in zip(results[task], variants, strict=True):
                column.append(benchmark.result(variant, task, seed))
                print(f"{task}, {variant.title}, seed {seed}: {column[-1].score:.3f}", flush=True)
    print(f"\n{table(variants, results)}")
    told = (f"rate {rate:g}", " ".join(options), f"{torch.get_num_threads()} threads", processor())
    print(f"\n{seeds} seeds, {subset}, " + ", ".join(filter(None, told)))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
