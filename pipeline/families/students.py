"""Students: forms of families whose models learn the outputs of a teacher beside their own objective (Hinton et al.
2015, https://arxiv.org/abs/1503.02531; Sanh et al. 2019, DistilBERT, https://arxiv.org/abs/1910.01108; distillation/ of
huggingface/transformers-research-projects).

Three things differ from the reference implementation of DistilBERT. Soft targets are those of masked tokens, which its
option restrict_ce_to_mask selects. Each sample has a number of masked tokens that follows from its length (law 3), and
rare tokens are not masked more often.

Like a family's file, this one imports torch only in functions that compute.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline.families import teachers
from pipeline.families.base import Auxiliary, Family
from pipeline.model.student_config import StudentConfig
from pipeline.runlog.terms import Term, masked_term

if TYPE_CHECKING:
    from torch import nn

    from preprocessing.shards import SampleDataset

S = TypeVar("S", bound=StudentConfig)
MASKED_WEIGHT = 2.0
SOFT = Term("soft", "soft-target", "masked", weight=5.0, counted=False)
STATES = Term("cos", "hidden-state", "tokens", counted=False, unit="cosine distance")
"""Weights: README of the reference implementation of DistilBERT, for all families."""


def students(form: Family[S]) -> tuple[Family[S], Family[S], Family[S]]:
    """Divide a form of a family into three: without a teacher, with one whose hidden states are compared, and with one
    whose hidden states are not.

    Args:
        form: a form whose models are each a `MaskedTokenModel`. Its terms keep their weights beside those of the
            teacher, except the first one of masked tokens, which has `MASKED_WEIGHT`.
    """
    alone = replace(form, applies=lambda config: form.applies(config) and not config.teacher)

    def taught(compares: bool) -> Family[S]:
        return replace(
            alone,
            terms=(*_own_terms(form), SOFT, STATES) if compares else (*_own_terms(form), SOFT),
            completed=partial(completed, form),
            prepare=partial(prepare, form),
            auxiliary=partial(auxiliary, form),
            files=("teacher",),
            applies=lambda config: (
                form.applies(config) and bool(config.teacher) and config.compare_hidden_states == compares
            ),
        )

    return alone, taught(True), taught(False)


def with_students(family: Family[S]) -> Family[S]:
    """Return a family whose first form is divided as `students` does; its variants are left as they are."""
    alone, *taught = students(replace(family, variants=()))
    return replace(alone, variants=(*taught, *family.variants))


def completed(form: Family[S], config: S, train: "SampleDataset") -> S:
    """Return the configuration with the checksum of its teacher, which has been verified and compared with the samples.

    Args:
        form: form of the student's family.
        config: configuration of the student.
        train: training samples.

    Raises:
        ValueError: the teacher cannot be read, does not fit the student or the samples, or has another checksum.
    """
    found = _teacher(config)
    teachers.check(found, config, form, train)
    if config.compare_hidden_states:
        teachers.check_widths(found, config)
    if config.initialize_from_teacher:
        teachers.check_copies(found, config, form)
    return replace(config, teacher_sha256=found.sha256)


def prepare(form: Family[S], model: "nn.Module", config: S) -> None:
    """Give a new student its teacher and, if the configuration says so, initial weights of it.

    Args:
        form: form of the student's family.
        model: the student, changed in place.
        config: its configuration.

    Raises:
        ValueError: the teacher is another one than `completed` has found.
    """
    found = _teacher(config)
    teacher = teachers.load(found)
    if config.initialize_from_teacher:
        teachers.begin_with(model, teacher, form.template.first_position, found.first_position)
    _attach(form, config, found, model, teacher)


def auxiliary(form: Family[S], config: S) -> Auxiliary[S]:
    """Return the shape of the teacher. One that does not exist yet is assumed to be of the student's family and sizes,
    with twice as many layers, as in the paper of DistilBERT.

    Args:
        form: form of the student's family.
        config: configuration of the student.

    Raises:
        ValueError: the teacher cannot be read, or does not fit the student.
    """
    if Path(config.teacher).exists():
        found, assumed = _teacher(config), ""
        teachers.check_fit(found, config, form)
        if config.compare_hidden_states:
            teachers.check_widths(found, config)
    else:
        shape = replace(config, num_hidden_layers=2 * config.num_hidden_layers, teacher="", teacher_sha256="")
        found = teachers.Found(Path(config.teacher), form, shape, 0, "")
        assumed = (
            f"{teachers.FIELD} = {config.teacher} does not exist yet; assumed: {shape.num_hidden_layers} layers of the "
            "student's sizes"
        )
    return Auxiliary(
        lambda student, vocab_size: found.family.build(teachers.computing(found.config, student), vocab_size),
        lambda model, teacher: _attach(form, config, found, model, teacher),
        "teacher",
        assumed,
    )


def _own_terms(form: Family[S]) -> tuple[Term, ...]:
    """The terms of a form with their weights beside those of a teacher."""
    masked = masked_term(form.terms)
    return tuple(replace(term, weight=MASKED_WEIGHT) if term == masked else term for term in form.terms)


def _attach(form: Family[S], config: S, found: teachers.Found, model: "nn.Module", teacher: "nn.Module") -> None:
    from pipeline.model.pretraining import MaskedTokenModel
    from pipeline.model.teacher import Teacher

    assert isinstance(model, MaskedTokenModel), "`students` takes no other"
    assert isinstance(teacher, MaskedTokenModel), "`teachers.find` takes no other"
    states = STATES if config.compare_hidden_states else None
    shift = found.first_position - form.template.first_position
    model.teacher = Teacher(teacher, shift, config.temperature, _own_terms(form), SOFT, states)


def _teacher(config: StudentConfig) -> teachers.Found:
    found = teachers.find(config.teacher, config)
    if config.teacher_sha256 not in ("", found.sha256):
        raise ValueError(
            f"model.teacher_sha256 = {config.teacher_sha256}: {found.directory} has {found.sha256}, so that it is "
            "another teacher; name the former checkpoint"
        )
    return found
