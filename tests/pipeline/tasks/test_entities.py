"""Entities and their scores are those of conlleval and seqeval, in every scheme of tags."""

import pytest

from pipeline.tasks.entities import Entity, entities, entity_scores, to_iob2


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-x I-x O B-y", [("x", 0, 2), ("y", 3, 4)]),
        ("B-x B-x I-x", [("x", 0, 1), ("x", 1, 3)]),
        ("I-x I-x O I-y I-x", [("x", 0, 2), ("y", 3, 4), ("x", 4, 5)]),  # IOB1
        ("I-x B-x O", [("x", 0, 1), ("x", 1, 2)]),
        ("B-x E-x S-x S-y O", [("x", 0, 2), ("x", 2, 3), ("y", 3, 4)]),  # IOBES
        ("B-x L-x U-x", [("x", 0, 2), ("x", 2, 3)]),  # BILOU
        ("B-x I-y E-y E-y I-y", [("x", 0, 1), ("y", 1, 3), ("y", 3, 4), ("y", 4, 5)]),
        ("S-x I-x E-x", [("x", 0, 1), ("x", 1, 3)]),
        ("B-a-b I-a-b", [("a-b", 0, 2)]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities_of_every_scheme(tags, expected):
    """Each sequence, well formed or not, has the entities that seqeval finds; in IOB2 it has the same ones."""
    assert entities(tags.split()) == [Entity(*each) for each in expected]
    assert entities(to_iob2(tags.split())) == entities(tags.split())


def test_iob2_begins_each_entity_with_b():
    """The first word of an entity has B, every other one I."""
    assert to_iob2(["I-x", "I-x", "B-x", "S-y", "E-y", "O"]) == ["B-x", "I-x", "B-x", "B-y", "B-y", "O"]


@pytest.mark.parametrize("tag", ["person", "B", "X-person", "B-", "b-person", ""])
def test_other_tags_are_errors(tag):
    """A tag that names no entity is an error with an example."""
    with pytest.raises(ValueError, match=f"tag '{tag}': must be O, or B-, I-, E- or S- with the kind"):
        entities(["O", tag])


@pytest.mark.parametrize(
    ("gold", "predicted", "scores"),
    [
        # (F1, precision, recall), computed by seqeval (github.com/chakki-works/seqeval, cd01b52).
        (["O O O B-m I-m I-m O", "B-p I-p O"], ["O O B-m I-m I-m I-m O", "B-p I-p O"], (0.5, 0.5, 0.5)),
        (["B-p I-p O B-l"], ["B-p I-p O B-p"], (0.5, 0.5, 0.5)),
        (["B-p I-p O B-l", "O"], ["I-p I-p O O", "B-p"], (0.5, 0.5, 0.5)),
        (["B-p B-p", "B-l O"], ["B-p I-p", "B-l O"], (0.4, 0.5, 1 / 3)),
        (["O O"], ["B-p O"], (0.0, 0.0, 0.0)),
        (["O O"], ["O O"], (0.0, 0.0, 0.0)),
        (["B-p", "I-p"], ["B-p", "I-p"], (1.0, 1.0, 1.0)),  # an entity ends with its sentence
    ],
)
def test_scores_of_entities(gold, predicted, scores):
    """An entity is right if its kind and all of its words are."""
    found = entity_scores([each.split() for each in gold], [each.split() for each in predicted])
    assert (found["f1"], found["precision"], found["recall"]) == pytest.approx(scores)
