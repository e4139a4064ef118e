"""Entities in the tags of words, and their precision, recall and F1.

A tag is O, or a prefix and a kind of entity, such as B-person. Entities are read as conlleval (Tjong Kim Sang and
Buchholz 2000, CoNLL-2000 shared task) and seqeval read them, which accept every scheme of such tags: IOB2, IOB1 (B only
between two entities of one kind) and IOBES, also with the names of BILOU.
"""

from collections.abc import Sequence
from typing import NamedTuple

OUTSIDE, BEGIN, INSIDE = "O", "B", "I"
_PREFIXES = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S"}
"""Prefixes -> their names in IOBES."""


class Entity(NamedTuple):
    """An entity: words `start` to `end`, of which the last one does not belong to it."""

    kind: str
    start: int
    end: int


def divide_tag(tag: str) -> tuple[str, str]:
    """Return the prefix of a tag, of IOBES, and its kind, which is empty for O.

    Raises:
        ValueError: it is no tag of an entity.
    """
    prefix, _, kind = tag.partition("-")
    if tag != OUTSIDE and (prefix not in _PREFIXES or not kind):
        raise ValueError(f"tag {tag!r}: must be O, or B-, I-, E- or S- with the kind of an entity, such as B-person")
    return _PREFIXES.get(prefix, OUTSIDE), kind


def entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of a sentence, from left to right.

    An entity goes on as long as its kind does, up to a word that begins another one (B, S) or ends it (E, S).

    Args:
        tags: tag of each word.

    Raises:
        ValueError: a tag is none of an entity.
    """
    found: list[Entity] = []
    before, kind, start = OUTSIDE, "", 0
    for number, (prefix, next_kind) in enumerate([*map(divide_tag, tags), (OUTSIDE, "")]):
        begins = prefix in "BS" or before in "OES" or next_kind != kind
        if before != OUTSIDE and (begins or prefix == OUTSIDE):
            found.append(Entity(kind, start, number))
        if begins:
            start = number
        before, kind = prefix, next_kind
    return found


def to_iob2(tags: Sequence[str]) -> list[str]:
    """Return the tags of the same entities in IOB2: B for the first word of each entity, I for its other words."""
    made = [OUTSIDE] * len(tags)
    for kind, start, end in entities(tags):
        made[start:end] = [f"{BEGIN}-{kind}", *[f"{INSIDE}-{kind}"] * (end - start - 1)]
    return made


def entity_scores(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return F1, precision and recall of entities over all sentences; an entity is right if kind and words are.

    Each is 0 where its denominator is 0, as in seqeval.

    Args:
        gold: tags of the words of each sentence.
        predicted: likewise.
    """
    right = found = wanted = 0
    for one, other in zip(gold, predicted, strict=True):
        true, guessed = set(entities(one)), set(entities(other))
        right, found, wanted = right + len(true & guessed), found + len(guessed), wanted + len(true)
    return {
        "f1": 2 * right / (found + wanted) if found + wanted else 0.0,
        "precision": right / found if found else 0.0,
        "recall": right / wanted if wanted else 0.0,
    }
