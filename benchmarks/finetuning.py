"""Speed of fine-tuning on SST-2, beside `transformers.Trainer` on the same model, examples and batch size.

    python -m benchmarks.finetuning --model models/base --glue DIR --steps 20 --rounds 3

Both train the model without a checkpoint or an evaluation, on the same device and threads, in turn in the same process,
and the table has the medians over the rounds. The Trainer has its default settings but for batch size and rate; its
collator pads to the longest example of a batch. Rates of processor time are shown beside those of the clock: on a
machine with other work they are the ones that can be compared. `Trainer` needs the package accelerate:
`pip install --no-deps accelerate`.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from jsonargparse import auto_cli
from torch.utils.data import Dataset

from benchmarks.measuring import processor
from pipeline.jobs.finetuning.inputs import Inputs, open_inputs
from pipeline.jobs.finetuning.loop import Loop, build_optimizer, rows_of
from pipeline.jobs.finetuning.recipe import FinetuningRecipe, parse
from pipeline.jobs.finetuning.state import State
from pipeline.jobs.inference import default_device
from pipeline.runtime.progress import Progress
from pipeline.runtime.signals import StopSignals
from pipeline.tasks.glue import GLUE, read_splits

WARMUP_STEPS = 2


class Taken(NamedTuple):
    """Times of a number of steps, in seconds."""

    clock: float
    processor: float


class Stopwatch(transformers.TrainerCallback):
    """Times the steps after the first `WARMUP_STEPS`."""

    def __init__(self) -> None:
        self.steps, self.begin = 0, Taken(0, 0)
        self.taken = Taken(0, 0)

    def step(self) -> None:
        """Note that a step has ended."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = Taken(time.monotonic(), time.process_time())
        self.steps += 1
        if self.steps <= WARMUP_STEPS:
            self.begin = now
        self.taken = Taken(now.clock - self.begin.clock, now.processor - self.begin.processor)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.step()


class Features(Dataset[dict[str, Any]]):
    """The examples of some rows of a split as the Trainer's collator reads them."""

    def __init__(self, tokenizer: Any, rows: list[Any], max_length: int) -> None:
        self.features = [
            {**tokenizer(row["sentence"], truncation=True, max_length=max_length), "label": int(row["label"])}
            for row in rows
        ]

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.features[index]


def ours(recipe: FinetuningRecipe, inputs: Inputs, steps: int) -> Taken:
    """Train with this project's loop."""
    model = inputs.begun.model.to(default_device()).train()
    optimizer = build_optimizer(model, inputs.family.parameters, recipe)
    nowhere: Any = None
    silent, watch = Progress(0, 0, "", enabled=False), Stopwatch()
    loop = Loop(
        recipe,
        inputs.task,
        inputs.sequences,
        model,
        optimizer,
        State(),
        save=nowhere,
        writer=nowhere,
        progress=silent,
        signals=StopSignals(),
    )
    for _ in range(WARMUP_STEPS + steps):
        loop.train_step()
        watch.step()
    return watch.taken


def theirs(recipe: FinetuningRecipe, rows: list[Any], steps: int) -> Taken:
    """Train with `transformers.Trainer`."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(recipe.model)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(recipe.model, num_labels=2)
    silent: dict[str, Any] = {"save_strategy": "no", "logging_strategy": "no", "report_to": "none"}
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as directory:
        arguments = transformers.TrainingArguments(
            directory,
            max_steps=WARMUP_STEPS + steps,
            per_device_train_batch_size=recipe.training.batch_size,
            learning_rate=recipe.optimizer.lr,
            disable_tqdm=True,
            **silent,
        )
        collator = transformers.DataCollatorWithPadding(tokenizer)
        features = Features(tokenizer, rows, recipe.text.max_length)
        transformers.Trainer(model, arguments, collator, features, callbacks=[watch]).train()
    return watch.taken


def row(name: str, rounds: list[Taken], samples: int) -> str:
    """Return a row of the table, with the medians over the rounds."""
    rates = [statistics.median(samples / seconds for seconds in column) for column in zip(*rounds, strict=True)]
    return f"| {name} | {' | '.join(f'{rate:,.2f}' for rate in rates)} |"


def ratios(one: list[Taken], other: list[Taken]) -> str:
    """Return the row with the ratios of the rates: their median over the rounds, and their range."""
    cells = []
    for field in Taken._fields:
        found = [getattr(b, field) / getattr(a, field) for a, b in zip(one, other, strict=True)]
        cells.append(f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
    return f"| ratio | {' | '.join(cells)} |"


def main(
    model: Path,
    glue: Path,
    steps: int = 20,
    rounds: int = 3,
    options: list[str] = [],  # noqa: B006  jsonargparse reads it
) -> None:
    """Measure both and print a Markdown table.

    Args:
        model: directory of a model, as transformers loads it.
        glue: directory that holds SST-2.
        steps: optimizer steps of a round that are measured, after two others.
        rounds: how often each side is measured; the side that begins alternates.
        options: options of pipeline.finetune that change the recipe.
    """
    transformers.utils.logging.set_verbosity_error()
    recipe = parse(["sst2", "--model", str(model), "--data", str(glue), *options])
    samples = steps * recipe.training.batch_size
    train = read_splits(GLUE["sst2"], glue)["train"]
    chosen = [
        int(row)
        for step in range(1, WARMUP_STEPS + steps + 1)
        for row in rows_of(step, recipe.seed, len(train), recipe.training.batch_size)
    ]
    inputs = open_inputs(recipe)
    measured: dict[str, Callable[[], Taken]] = {
        "this project": lambda: ours(recipe, inputs, steps),
        "transformers.Trainer": lambda: theirs(recipe, [train[row] for row in chosen], steps),
    }
    taken: dict[str, list[Taken]] = {name: [] for name in measured}
    for number in range(rounds):
        for name in list(measured)[:: -1 if number % 2 else 1]:
            taken[name].append(measured[name]())
            print(
                f"round {number + 1}, {name}: {taken[name][-1].processor / steps:.2f} s of processor time a step",
                flush=True,
            )
    print("\n| | samples/s | samples per second of processor time |\n|---|---|---|")
    for name, found in taken.items():
        print(row(name, found, samples), flush=True)
    print(ratios(*taken.values()))
    told = f"batch {recipe.training.batch_size}, {rounds} rounds of {steps} steps, {torch.get_num_threads()} threads"
    print(f"\n{told}, {processor()}")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
