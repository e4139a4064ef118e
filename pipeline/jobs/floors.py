"""Floors of a run: computed once, by the main rank, and recorded in the run's events."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from pipeline.config import Recipe
from pipeline.data.floors import HeldOut, measure, split_batch
from pipeline.data.loader import BatchDivision, special_tokens
from pipeline.families import get_family
from pipeline.jobs.samples import heldout_batches, samples_id, training_words
from pipeline.runlog.events import Events
from pipeline.runlog.floors import KIND, floors_event
from pipeline.runlog.reader import read_events
from preprocessing.schema import Manifest
from preprocessing.shards import SampleDataset

_BATCH = 64
"""Number of held-out samples that are read at once."""


def record_floors(run: Path, recipe: Recipe, train: SampleDataset, heldout: SampleDataset, events: Events) -> None:
    """Compute the floors of a run and record them, unless its events hold those of the same samples.

    Only the main rank calls it. It takes seconds.

    Raises:
        ValueError: a shard was damaged after it was verified.
    """
    which = {
        "samples": samples_id(train),
        "heldout": min(recipe.evaluation.samples, len(heldout)),
        "corpus": describe(train.manifest),
    }
    recorded = floors_event(read_events(run)[0])
    if recorded is not None and which.items() <= recorded.items():
        return
    special = special_tokens(train, get_family(recipe.family).template)
    floors = measure(training_words(train), _heldout(recipe, heldout), special)
    events.write(KIND, **asdict(floors), **which)


def describe(samples: Manifest) -> str:
    """Return a description of a corpus in numbers, without the paths of its sources."""
    split = samples.splits["train"]
    return (
        f"{split.tokens:,} tokens in {split.rows:,} {samples.segments} samples of at most {samples.max_seq_length} "
        f"tokens, vocabulary of {samples.vocab_size:,}"
    )


def _heldout(recipe: Recipe, heldout: SampleDataset) -> Iterator[HeldOut]:
    special = special_tokens(heldout, get_family(recipe.family).template)
    for batch in heldout_batches(recipe, BatchDivision(_BATCH, _BATCH, 0, 1), heldout):
        yield from split_batch(batch, special)
