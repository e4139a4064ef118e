"""Token classification: the words of sentences get tags, which name entities.

Shapes: N sequences of a split, T tokens of a batch, R tokens of a split, P words that have a token, C tags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.batch import Batch
from pipeline.data.labels import IGNORED
from pipeline.data.packing import Int64Array
from pipeline.runlog.terms import Term
from pipeline.tasks.base import Logits, class_fields
from pipeline.tasks.config import TokensConfig
from pipeline.tasks.conll import Sentence, read_splits
from pipeline.tasks.encoding import Encoded, PieceEncoder, Sequences
from pipeline.tasks.entities import BEGIN, INSIDE, OUTSIDE, divide_tag, entity_scores
from pipeline.tasks.splits import TEST, TRAIN
from pipeline.tasks.words import Spans, WordSequences, word_sequences
from preprocessing.files import write_text

NAME = "tokens"


@dataclass(frozen=True, eq=False)
class TokenClassification:
    """A classification of words with its sentences; see `pipeline.tasks.base.Task`."""

    labels: tuple[str, ...]
    """Tags in IOB2; the first one is O."""
    sentences: Mapping[str, Sequence[Sentence]]
    """The sentences of each split."""
    sequences: Mapping[str, WordSequences]
    """The same as tokens."""
    tags: Mapping[str, Int64Array]
    """(R,) number of the tag of each token, for each split with tags; IGNORED where no word has its first token."""
    notes: tuple[str, ...]
    name: str = NAME
    head: str = "tokens"
    metrics: tuple[str, ...] = ("f1", "precision", "recall", "accuracy")
    pipeline_tag: str = "token-classification"

    @property
    def outputs(self) -> int:
        """Number of tags C."""
        return len(self.labels)

    @property
    def term(self) -> Term:
        """The term of the loss: a mean over the words that have a token."""
        return Term("tag", "tag", "words", counted=False)

    @property
    def splits(self) -> Mapping[str, Encoded]:
        """The sequences by split."""
        return {split: found.encoded for split, found in self.sequences.items()}

    @property
    def measured(self) -> tuple[str, ...]:
        """The test split, if it has tags."""
        return tuple(split for split in self.tags if split == TEST)

    @property
    def predicted(self) -> tuple[str, ...]:
        """The test split."""
        return tuple(split for split in self.sequences if split == TEST)

    def config_fields(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Return the names of the tags."""
        return class_fields(self.labels)

    def targets(self, split: str, examples: Int64Array) -> dict[str, Tensor]:
        """Return "labels" (T,): int64 tags, IGNORED at other tokens than the first one of a word."""
        return {"labels": torch.from_numpy(self._tags_of(split, examples))}

    def totals(self, split: str, examples: Int64Array) -> dict[str, int]:
        """Return "words": the number of labelled tokens of a batch, at least 1."""
        return {"words": max(1, int((self._tags_of(split, examples) != IGNORED).sum()))}

    def _tags_of(self, split: str, examples: Int64Array) -> Int64Array:
        """Return (T,) tags of the tokens of a batch."""
        sizes = self.splits[split].lengths
        ends = np.cumsum(sizes)
        return np.concatenate([self.tags[split][ends[row] - sizes[row] : ends[row]] for row in examples])

    def fingerprint(self, split: str) -> bytes:
        """Return the tags of a split as bytes; empty if it has none."""
        return self.tags[split].tobytes() if split in self.tags else b""

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the sum () of the cross entropies in nats at the first token of each word, of logits (T, C)."""
        return functional.cross_entropy(logits.float(), batch.targets["labels"], ignore_index=IGNORED, reduction="sum")

    def measure(self, split: str, logits: Logits) -> dict[str, float]:
        """Return F1, precision and recall of entities, and the share of the words whose tag is right."""
        gold = [sentence.tags for sentence in self.sentences[split]]
        predicted = self.predictions(split, logits)
        pairs = [pair for one, other in zip(gold, predicted, strict=True) for pair in zip(one, other, strict=True)]
        right = sum(one == other for one, other in pairs)
        return entity_scores(gold, predicted) | {"accuracy": right / len(pairs)}

    def predictions(self, split: str, logits: Logits) -> list[list[str]]:
        """Return the tags of the words of each sentence, from logits (R, C); a word without a token has the tag O."""
        sequences = self.sequences[split]
        predicted = [[OUTSIDE] * len(sentence.words) for sentence in self.sentences[split]]
        best = logits[sequences.rows].argmax(1)
        for sentence, word, tag in zip(sequences.sentences, sequences.words, best, strict=True):
            predicted[sentence][word] = self.labels[tag]
        return predicted

    def write_predictions(self, split: str, logits: Logits, directory: Path) -> Path:
        """Write each word with its tag, if it has one, and the predicted tag, as conlleval reads them."""
        lines = []
        for sentence, predicted in zip(self.sentences[split], self.predictions(split, logits), strict=True):
            columns = (sentence.words, *([sentence.tags] if sentence.tags else []), predicted)
            lines += ["\t".join(cells) for cells in zip(*columns, strict=True)] + [""]
        path = directory / f"{split}.conll"
        write_text(path, "\n".join(lines) + "\n")
        return path


def read_tokens(data: Path, columns: TokensConfig, sequences: Sequences, encode: PieceEncoder) -> TokenClassification:
    """Read and encode the sentences of the splits in a directory.

    Args:
        data: directory of the files.
        columns: which columns have the words and the tags.
        sequences: how the model reads text.
        encode: its tokenizer.

    Raises:
        ValueError: a file is missing or not in its format, or a tag is unknown; the message names file and line.
    """
    sentences = read_splits(data, columns)
    labels = labels_of(sentences[TRAIN])
    tags, made, notes = {}, {}, []
    for split, found in sentences.items():
        texts = [" ".join(sentence.words) for sentence in found]
        spans = [spans_of(sentence.words) for sentence in found]
        made[split] = word_sequences(encode(texts), spans, sequences.template, sequences.max_length)
        notes += notes_of(split, found, made[split], sequences.max_length)
        if found[0].tags:
            tags[split] = numbers_of(found, made[split], labels)
    return TokenClassification(labels, sentences, made, tags, tuple(notes))


def labels_of(sentences: Sequence[Sentence]) -> tuple[str, ...]:
    """Return O, and B and I of each kind of entity, in alphabetical order of the kinds.

    Raises:
        ValueError: there is no entity.
    """
    kinds = {divide_tag(tag)[1] for sentence in sentences for tag in sentence.tags} - {""}
    if not kinds:
        raise ValueError(f"{sentences[0].path}: all tags are O; give training sentences with entities")
    return (OUTSIDE, *(f"{prefix}-{kind}" for kind in sorted(kinds) for prefix in (BEGIN, INSIDE)))


def spans_of(words: Sequence[str]) -> Spans:
    """Return the place of each word in the text of all of them, which are separated by one space each."""
    ends = np.cumsum([len(word) + 1 for word in words]).tolist()
    return [(end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True)]


def numbers_of(sentences: Sequence[Sentence], sequences: WordSequences, labels: Sequence[str]) -> Int64Array:
    """Return (R,) tags of the tokens: those of words at their first token, IGNORED elsewhere.

    Raises:
        ValueError: a tag has a kind of entity that the training sentences lack; the message names file and line.
    """
    known = {label: number for number, label in enumerate(labels)}
    for sentence in sentences:
        for offset, tag in enumerate(sentence.tags):
            if tag not in known:
                kinds = ", ".join(dict.fromkeys(label[2:] for label in labels[1:]))
                raise ValueError(
                    f"{sentence.path}:{sentence.line + offset}: tag {tag!r}: must be O or of an entity of the training "
                    f"sentences ({kinds}); correct it or remove the sentence"
                )
    tags = np.full(int(sequences.encoded.lengths.sum()), IGNORED, np.int64)
    places = zip(sequences.rows, sequences.sentences, sequences.words, strict=True)
    for row, sentence, word in places:
        tags[row] = known[sentences[sentence].tags[word]]
    return tags


def notes_of(split: str, sentences: Sequence[Sentence], sequences: WordSequences, max_length: int) -> list[str]:
    """Return what is not as in the file: sentences in several sequences, words that are cut or have no token."""
    lost = sum(len(sentence.words) for sentence in sentences) - len(sequences.rows)
    found = (
        (sequences.divided, f"sentences longer than text.max_length = {max_length} are divided between words"),
        (sequences.cut, "words longer than a sequence are cut; their tags are used"),
        (lost, "words without a token have no part in the loss and the predicted tag O"),
    )
    return [f"{split}: {number:,} {text}" for number, text in found if number]
