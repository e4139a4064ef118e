"""Held-out masked loss of models of different families on the same samples, with the same masks.

    python -m benchmarks.held_out --samples data/samples128-full_sentences \\
        --models '[models/bert,models/electra/generator]'

A model is an exported directory with a head for masked tokens, such as ELECTRA's generator. Its vocabulary must be that
of the samples; a loss per token has no meaning for another one. The evaluation of a run masks as this one does, but
reads the samples of its own family, whose contexts differ: pairs, blocks or packed sentences.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import auto_cli

from benchmarks.measuring import processor
from pipeline.conversion.huggingface import load_tokenizer
from pipeline.data.heldout import evaluation_batches
from pipeline.jobs.predictions import fill
from pipeline.losses.cross_entropy import cross_entropy_sum
from preprocessing.shards import SampleDataset


class HeldOut(NamedTuple):
    """Means over masked tokens."""

    loss: float
    """Cross entropy, nats."""
    accuracy: float
    masked: int
    """Number of masked tokens."""


@torch.inference_mode()
def held_out(directory: Path, samples: SampleDataset, max_samples: int, batch_size: int = 64) -> HeldOut:
    """Returns the figures of a model.

    Args:
        directory: the model.
        samples: the held-out split.
        max_samples: upper bound on the number of samples.
        batch_size: samples that are computed at once.

    Raises:
        ValueError: the model has no head for masked tokens, or another vocabulary than the samples.
    """
    loaded = fill.load(directory, load_tokenizer(directory))
    expected = samples.manifest.vocab_size
    if loaded.vocab_size != expected:
        raise ValueError(f"{directory}: has {loaded.vocab_size} tokens, but {samples.directory} has {expected}")
    model: Any = loaded.model
    loss, correct, masked = 0.0, 0.0, 0
    for batch in evaluation_batches(samples, loaded.family.template, batch_size, 0, 1, max_samples):
        found = cross_entropy_sum(model.logits(batch, batch.targets["positions"]), batch.targets["labels"])
        loss, correct = loss + float(found.loss), correct + float(found.correct)
        masked += batch.counts["masked"]
    return HeldOut(loss / masked, correct / masked, masked)


def main(samples: Path, models: list[Path], max_samples: int = 2048) -> None:
    """Print a Markdown table with a row for each model.

    Args:
        samples: directory of samples, whose held-out split is read.
        models: directories of models.
        max_samples: upper bound on the number of samples.
    """
    dataset = SampleDataset.open(samples, "heldout")
    print("| model | masked loss | accuracy |\n|---|---|---|")
    for directory in models:
        found = held_out(directory, dataset, max_samples)
        print(f"| {directory} | {found.loss:.3f} | {found.accuracy:.3f} |", flush=True)
    print(f"\n{found.masked:,} masked tokens of {min(max_samples, len(dataset)):,} samples, {processor()}")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
