"""Teachers: checkpoints of any family that predicts masked tokens, whose outputs a student learns. Of a family with a
generator (ELECTRA, DeBERTa-v3), the generator is the teacher.

Like a family's file, this one imports torch only in functions that compute.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.families import get_family
from pipeline.families.base import Family, Part, Tensors, unchanged
from pipeline.model.config import EncoderConfig

if TYPE_CHECKING:
    from torch import nn

    from pipeline.model.encoder import Embeddings
    from pipeline.model.pretraining import MaskedTokenModel
    from preprocessing.shards import SampleDataset

C = TypeVar("C", bound=EncoderConfig)
FIELD = "model.teacher"
"""Field of the recipe that names the teacher."""


@dataclass(frozen=True)
class Found:
    """A teacher's checkpoint."""

    directory: Path
    """Directory of the checkpoint."""
    family: Family[Any]
    """Form of its family, or the part of it that predicts masked tokens."""
    config: EncoderConfig
    """Its configuration, for a model without dropout."""
    vocab_size: int
    """Rows of its word embeddings."""
    sha256: str
    """Checksum of its manifest, which holds the checksums of all its files."""
    taken: Callable[[Tensors], Tensors] = unchanged
    """Parameters of the checkpoint -> those of the model that `family` builds."""

    @property
    def first_position(self) -> int:
        """Position id of a sample's first token."""
        return self.family.template.first_position


def find(teacher: str, student: EncoderConfig) -> Found:
    """Read the description of a teacher, which computes with the kernels of its student.

    Args:
        teacher: directory of a checkpoint, or of a run, whose newest checkpoint is taken.
        student: configuration of the student.

    Raises:
        ValueError: there is no checkpoint, its description is damaged, or its family does not predict masked tokens.
    """
    from pipeline.checkpoints import checkpoint
    from preprocessing.files import sha256_file

    try:
        directory = checkpoint.resolve(Path(teacher))
        state = checkpoint.read_state(directory)
        family = get_family(state["family"])
        config = checkpoint.model_config(directory, family.config, state)
    except ValueError as error:
        raise ValueError(f"{FIELD} = {teacher}: {error}") from None
    form, checksum = family.of(config), sha256_file(directory / "manifest.json")
    part = _predicting_part(form, config)
    if part is None:
        raise ValueError(
            f"{FIELD} = {directory}: is of family {form.name}, which does not predict masked tokens; name a checkpoint "
            "of another family, such as bert"
        )

    def taken(tensors: Tensors) -> Tensors:
        return {part.renamed(name): value for name, value in form.divided(tensors).items() if part.renamed(name)}

    shape = computing(part.config(config), student)
    return Found(directory, part.family, shape, state["vocab_size"], checksum, taken)


def computing(teacher: C, student: EncoderConfig) -> C:
    """Return the configuration of a teacher that computes outputs alone, with the kernels of its student."""
    return replace(
        teacher,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initialization="normal",
        activation_checkpointing=False,
        recompute_activation=False,
        kernels=student.kernels,
        attention=student.attention,
        fp8="none",
    )


def check(found: Found, student: EncoderConfig, student_family: Family[Any], train: "SampleDataset") -> None:
    """Check that a teacher is sound and fits its student and the samples.

    Raises:
        ValueError: it does not; the message names the field and the first difference.
    """
    from pipeline.checkpoints import checkpoint
    from pipeline.data.vocabularies import check_same_vocabulary
    from preprocessing.schema import LABELLED

    checkpoint.verify(found.directory)
    samples = train.directory, train.tokenizer_dir, train.manifest.vocab_size
    check_same_vocabulary(found.directory, found.vocab_size, *samples, field=FIELD)
    check_fit(found, student, student_family)
    pair = student_family.template.pair
    if train.manifest.segments in LABELLED and found.family.template.pair != pair:
        raise ValueError(
            f"{FIELD} = {found.directory}: is of family {found.family.name}, whose samples of pairs are not "
            f"{' '.join(pair)}; name a checkpoint of another family, or build samples of single segments with "
            f"--segments {student_family.samples[0]}"
        )


def check_fit(found: Found, student: EncoderConfig, student_family: Family[Any]) -> None:
    """Check that the description of a teacher fits its student, except the widths of both.

    Raises:
        ValueError: it does not; the message names the field and the first difference.
    """
    place = f"{FIELD} = {found.directory}"
    if found.family.template.single != student_family.template.single:
        raise ValueError(
            f"{place}: is of family {found.family.name}, whose samples are not "
            f"{' '.join(student_family.template.single)}; name a checkpoint of another family, such as bert"
        )
    tokens = found.config.max_position_embeddings - found.first_position
    largest = tokens + student_family.template.first_position
    if largest < student.max_position_embeddings:
        raise ValueError(
            f"model.max_position_embeddings = {student.max_position_embeddings}: {place} reads at most {tokens} "
            f"tokens; lower it to {largest}"
        )


def check_widths(found: Found, student: EncoderConfig) -> None:
    """Check that the hidden states of a teacher are as wide as those of its student.

    Raises:
        ValueError: they are not.
    """
    if found.config.hidden_size != student.hidden_size:
        raise ValueError(
            f"model.hidden_size = {student.hidden_size}: {FIELD} = {found.directory} has {found.config.hidden_size}; "
            "set it to that, because hidden states are compared, or model.compare_hidden_states to false"
        )


def check_copies(found: Found, student: EncoderConfig, student_family: Family[Any]) -> None:
    """Check that a student can begin with layers of its teacher.

    Raises:
        ValueError: the teacher or the student has layers of another kind than BERT's, a size differs, or the student
            has more layers.
    """
    for family, config, which in (
        (student_family, student, "the student"),
        (found.family, found.config, f"{FIELD} = {found.directory}"),
    ):
        if not _has_layers_of_bert(_on_meta(family, config, found.vocab_size)):
            raise ValueError(
                f"model.initialize_from_teacher = true: {which} is of family {family.name}, whose layers are not of "
                "BERT's kind; set it to false"
            )
    theirs, remedy = found.config, "set it to that, or model.initialize_from_teacher to false"
    for name in ("hidden_size", "intermediate_size", "num_attention_heads", "embedding_width", "type_vocab_size"):
        wanted, has = getattr(student, name, None), getattr(theirs, name, None)
        if wanted != has and None not in (wanted, has):  # models without segment embeddings have no type_vocab_size
            raise ValueError(f"model.{name} = {wanted}: {FIELD} = {found.directory} has {has}; {remedy}")
    if theirs.projects_embeddings != student.projects_embeddings:
        raise ValueError(
            f"model.initialize_from_teacher = true: one of {FIELD} = {found.directory} and the student has a "
            "projection behind the embeddings, and the other one has none; set it to false"
        )
    if theirs.num_hidden_layers < student.num_hidden_layers:
        raise ValueError(
            f"model.num_hidden_layers = {student.num_hidden_layers}: {FIELD} = {found.directory} has "
            f"{theirs.num_hidden_layers}; lower it to that, or set model.initialize_from_teacher to false"
        )


def _has_layers_of_bert(model: "nn.Module") -> bool:
    from pipeline.model.encoder import Encoder
    from pipeline.model.pretraining import MaskedLanguageModel

    return isinstance(model, MaskedLanguageModel) and type(model.encoder) is Encoder


def load(found: Found) -> "MaskedTokenModel":
    """Return the model of a teacher in fp32 on the CPU.

    Raises:
        ValueError: a file is damaged.
    """
    from pipeline.checkpoints.checkpoint import Reader
    from pipeline.model.pretraining import MaskedTokenModel

    weights = dict(found.taken(dict(Reader(found.directory).tensors())))
    weights |= {alias: weights[source] for alias, source in found.family.export.ties.items()}
    model = _on_meta(found.family, found.config, found.vocab_size)
    assert isinstance(model, MaskedTokenModel), "`find` takes no other"
    model.load_state_dict(weights, assign=True)
    return model


def begin_with(student: "nn.Module", teacher: "MaskedTokenModel", first: int, teachers_first: int) -> None:
    """Give a student embeddings and evenly spaced layers of its teacher, and the bias of its logits.

    The transformation before the logits keeps its initial weights, as in the reference implementation of DistilBERT
    (scripts/extract_distilbert.py of huggingface/transformers-research-projects), and so does a further head.

    Args:
        student: a new model, changed in place.
        teacher: a model with layers of the same kind and sizes, and with at least as many.
        first: position id of a sample's first token in the student.
        teachers_first: that in the teacher.
    """
    import torch

    from pipeline.model.pretraining import MaskedLanguageModel

    assert isinstance(student, MaskedLanguageModel), "`check_copies` takes no other"
    ours, theirs = student.encoder, teacher.encoder
    with torch.no_grad():
        _copy_embeddings(ours.embeddings, theirs.embeddings, first, teachers_first)
        if ours.projection is not None:
            ours.projection.load_state_dict(theirs.projection.state_dict())
        for layer, number in zip(ours.layers, evenly_spaced(theirs.num_layers, len(ours.layers)), strict=True):
            layer.load_state_dict(theirs.layers[number % len(theirs.layers)].state_dict())
        student.mlm_head.decoder.bias.copy_(teacher.mlm_head.decoder.bias)


def _copy_embeddings(ours: "Embeddings", theirs: "Embeddings", first: int, theirs_first: int) -> None:
    """Copy word and position embeddings, and segment embeddings if both models have them."""
    positions = ours.position.weight[first:]
    positions.copy_(theirs.position.weight[theirs_first : theirs_first + len(positions)])
    ours.word.weight.copy_(theirs.word.weight)
    if ours.num_segments and theirs.num_segments:
        ours.token_type.weight.copy_(theirs.token_type.weight)
    ours.layer_norm.load_state_dict(theirs.layer_norm.state_dict())


def evenly_spaced(available: int, wanted: int) -> list[int]:
    """Return numbers of layers from the first to the last one: 0, 2, 4, 7, 9 and 11 for 6 of 12, as in DistilBERT.

    Args:
        available: number of layers of the teacher.
        wanted: number of layers of the student, at most as many.
    """
    return [round(number * (available - 1) / max(1, wanted - 1)) for number in range(wanted)]


def _predicting_part(form: Family[Any], config: EncoderConfig) -> Part[Any] | None:
    """The model of a form as a part of itself if it predicts masked tokens, or that of its parts which does."""
    from pipeline.model.pretraining import MaskedTokenModel

    for part in (Part("", form, lambda name: name), *form.parts):
        if isinstance(_on_meta(part.family, part.config(config), vocab_size=1), MaskedTokenModel):
            return part
    return None


def _on_meta(family: Family[Any], config: EncoderConfig, vocab_size: int) -> "nn.Module":
    """A model without storage."""
    import torch

    with torch.device("meta"):
        return family.build(config, vocab_size)
