"""A samples directory as text for people: what it holds, and whether it looks like language."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from preprocessing.schema import HELDOUT, TRAIN
from preprocessing.segments.registry import Strategy, strategy
from preprocessing.shards import SampleDataset, read_manifest
from preprocessing.tokenizer.registry import special_id
from preprocessing.tokenizer.saving import load_tokenizer

_SAMPLES_FOR_UNKNOWN = 20_000
_BINS = 8
_BAR_WIDTH = 40


def inspect(directory: Path, samples: int = 3) -> str:
    """Describes a samples directory.

    Args:
        directory: what `build` wrote.
        samples: number of decoded samples per split, evenly spread.

    Raises:
        DataError: it is not a whole samples directory.
    """
    manifest = read_manifest(directory)
    lines = [
        f"{directory}: {manifest.segments}, at most {manifest.max_seq_length} tokens, "
        f"vocabulary of {manifest.vocab_size:,}",
        *(f"{stage}: {options}" for stage, options in manifest.config.items()),
    ]
    for split in (TRAIN, HELDOUT):
        dataset = SampleDataset.open(directory, split)
        lines += ["", f"{split}: {len(dataset):,} samples, {manifest.splits[split].tokens:,} tokens"]
        if len(dataset):
            tokenizer = load_tokenizer(dataset.tokenizer_dir)
            kind = strategy(manifest.segments)
            lines += [*_figures(dataset, tokenizer, kind), *_histogram(dataset, kind)]
            lines += _decoded(dataset, tokenizer, kind, samples)
    return "\n".join(lines)


def _figures(dataset: SampleDataset, tokenizer: Tokenizer, kind: Strategy) -> list[str]:
    spread = _spread(len(dataset), _SAMPLES_FOR_UNKNOWN)
    tokens = np.concatenate(dataset.tokens(spread))
    unknown = np.mean(tokens == special_id(tokenizer, "unk_token"))
    labels = [
        f"  {name}: {np.mean(dataset.labels == label):.1%} of the samples" for label, name in enumerate(kind.labels)
    ]
    return [
        f"  {np.unique(dataset.documents).size:,} documents, {len(dataset.shards)} shards, "
        f"{sum(shard.bytes for shard in dataset.shards) / 1e6:,.1f} MB",
        f"  single segments: {np.mean(dataset.boundaries == dataset.lengths):.1%} of the samples",
        *labels,
        f"  unknown tokens: {unknown:.3%} of {tokens.size:,} in {spread.size:,} samples",
    ]


def _histogram(dataset: SampleDataset, kind: Strategy) -> list[str]:
    longest = dataset.manifest.max_seq_length - kind.num_special_tokens
    edges = np.unique(np.linspace(0, longest, _BINS + 1).astype(int))
    counts, _ = np.histogram(dataset.lengths, edges + 0.5)  # A bin holds its upper edge.
    bars = ["#" * round(_BAR_WIDTH * count / counts.max()) for count in counts]
    return [
        f"  {low + 1:5d} to {high:5d} tokens {count / len(dataset):6.1%} {bar}"
        for (low, high), count, bar in zip(pairwise(edges), counts, bars, strict=True)
    ]


def _decoded(dataset: SampleDataset, tokenizer: Tokenizer, kind: Strategy, samples: int) -> list[str]:
    lines = []
    chosen = _spread(len(dataset), samples)
    for index, tokens in zip(chosen, dataset.tokens(chosen), strict=True):
        boundary = dataset.boundaries[index]
        a, b = (tokenizer.decode(part.tolist(), skip_special_tokens=False) for part in np.split(tokens, [boundary]))
        label = f", {kind.labels[dataset.labels[index]]}" if kind.labels else ""
        lines += [f"  sample {index}, document {dataset.documents[index]}{label}", f"    A: {a}"]
        lines += [f"    B: {b}"] if boundary < len(tokens) else []
    return lines


def _spread(total: int, count: int) -> np.ndarray:
    """At most `count` indices of [0, total), evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))
