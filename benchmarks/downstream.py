"""Accuracy of models on GLUE tasks after fine-tuning, beside random weights of the same shape.

    python -m benchmarks.downstream --models '[demo/model,"random:demo/model"]' --glue DIR --seeds 5

A model is a directory that `python -m pipeline.convert export` wrote, or any that `transformers` loads; random:DIR
names random weights of its shape, with its tokenizer. DIR of `--glue` holds SST-2/train.tsv, SST-2/dev.tsv,
RTE/train.tsv and RTE/dev.tsv as GLUE distributes them. A plain loop fine-tunes
`transformers.AutoModelForSequenceClassification` with AdamW, a warm-up over a tenth of the steps and linear decay, and
the dev split gives the accuracy. Each cell of the table has the median over the seeds, and the range.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from jsonargparse import auto_cli
from torch import Tensor, nn

from benchmarks.glue import TASKS, Example, read_examples
from benchmarks.measuring import processor

RANDOM = "random:"


@dataclass(frozen=True)
class Settings:
    """Settings of the fine-tuning."""

    epochs: int = 3
    """Passes over the training samples."""
    batch: int = 32
    """Samples of a step."""
    length: int = 128
    """Longest sequence in tokens; longer ones are truncated."""
    dropout: float = 0.1
    """Dropout of hidden states and attention, whatever the model was pre-trained with."""
    max_samples: int = 0
    """Training samples that are read, from the first; 0: all."""


def load(name: str, settings: Settings) -> tuple[Any, Any]:
    """Returns tokenizer and model, whose new weights come from torch's default generator."""
    directory = name.removeprefix(RANDOM)
    changed = {"hidden_dropout_prob": settings.dropout, "attention_probs_dropout_prob": settings.dropout}
    config = transformers.AutoConfig.from_pretrained(directory, num_labels=2, **changed)
    auto = transformers.AutoModelForSequenceClassification
    random = name.startswith(RANDOM)
    model = auto.from_config(config) if random else auto.from_pretrained(directory, config=config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return transformers.AutoTokenizer.from_pretrained(directory), model.to(device)


def encoded(
    tokenizer: Any, examples: list[Example], order: Tensor, settings: Settings, device: torch.device
) -> Iterator[tuple[Any, Tensor]]:
    """Yields arguments of the model and labels (B,) of batches in a given order (N,), padded to the longest."""
    length = min(settings.length, tokenizer.model_max_length)
    for rows in order.split(settings.batch):
        chosen = [examples[row] for row in rows.tolist()]
        columns = [list(column) for column in zip(*(example.texts for example in chosen), strict=True)]
        inputs = tokenizer(*columns, padding=True, truncation=True, max_length=length, return_tensors="pt")
        yield inputs.to(device), torch.tensor([example.label for example in chosen], device=device)


def finetuned_accuracy(
    name: str, train: list[Example], dev: list[Example], rate: float, seed: int, settings: Settings
) -> float:
    """Fine-tunes a model and returns its accuracy on the examples of the dev split."""
    torch.manual_seed(seed)
    tokenizer, model = load(name, settings)
    steps = settings.epochs * -(-len(train) // settings.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    model.train()
    for _ in range(settings.epochs):
        for inputs, labels in encoded(tokenizer, train, torch.randperm(len(train)), settings, model.device):
            model(**inputs, labels=labels).loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()
    with torch.inference_mode():
        batches = encoded(tokenizer, dev, torch.arange(len(dev)), settings, model.device)
        right = sum(int((model(**inputs).logits.argmax(1) == labels).sum()) for inputs, labels in batches)
    return right / len(dev)


def cell(accuracies: list[float]) -> str:
    """Returns the median and the range."""
    return f"{statistics.median(accuracies):.3f} ({min(accuracies):.3f} to {max(accuracies):.3f})"


def main(
    models: list[str],
    glue: Path,
    tasks: list[str] = list(TASKS),  # noqa: B006  jsonargparse reads it
    rates: list[float] = [1e-4],  # noqa: B006
    seeds: int = 3,
    settings: Settings = Settings(),
) -> None:
    """Fine-tune and print a Markdown table.

    Args:
        models: directories, or random:DIR.
        glue: directory with the tasks' files.
        tasks: names of the tasks.
        rates: peak learning rates, a row for each.
        seeds: runs of each, with the seeds 1, 2, ...: new weights, order of the samples and dropout.
        settings: fine-tuning.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    data = {
        name: (
            read_examples(glue / name / "train.tsv", TASKS[name], settings.max_samples),
            read_examples(glue / name / "dev.tsv", TASKS[name]),
        )
        for name in tasks
    }
    print(f"| model | rate | {' | '.join(tasks)} |\n|{'---|' * (2 + len(tasks))}")
    for model in models:
        for rate in rates:
            runs = [
                [finetuned_accuracy(model, *data[task], rate, seed, settings) for seed in range(1, seeds + 1)]
                for task in tasks
            ]
            print(f"| {model} | {rate:g} | {' | '.join(map(cell, runs))} |", flush=True)
    print(f"\n{seeds} seeds, {settings}, {processor()}")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
