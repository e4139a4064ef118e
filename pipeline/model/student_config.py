"""The fields of the recipe's section `[model]` of families whose models can learn from a teacher."""

from dataclasses import dataclass

from pipeline.model.config import EncoderConfig


@dataclass(frozen=True)
class StudentConfig(EncoderConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    teacher: str = ""
    """Checkpoint of the teacher, or a run whose newest checkpoint is the teacher: a model of any family that
    predicts masked tokens, trained or imported here, with the vocabulary of the samples. Empty: no teacher."""
    teacher_sha256: str = ""
    """Checksum of the manifest.json of the teacher's checkpoint; empty: recorded by the run. A run that resumes
    requires the same teacher."""
    temperature: float = 2.0
    """Divisor of the logits of teacher and student in the soft targets (DistilBERT: 2)."""
    compare_hidden_states: bool = True
    """Whether the student also learns the hidden states of the teacher's last layer, which requires equal widths."""
    initialize_from_teacher: bool = False
    """Whether the student begins with the teacher's embeddings and evenly spaced layers of it, the first and the last
    one among them, and the bias of its logits; requires that both have layers of BERT's kind and the same sizes.
    Without a teacher it has no effect."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise ValueError(f"model.temperature = {self.temperature}: must be above 0 (DistilBERT: 2)")
        if self.teacher_sha256 and not self.teacher:
            raise ValueError(f"model.teacher_sha256 = {self.teacher_sha256}: requires model.teacher; remove it")
        copies = self.teacher and self.initialize_from_teacher
        for name, usual in (("initialization", "normal"), ("output_bias", "zero")):
            if copies and getattr(self, name) != usual:
                raise ValueError(
                    f"model.{name} = {getattr(self, name)}: the initial weights are the teacher's; set it to {usual}, "
                    "or model.initialize_from_teacher to false"
                )

    def require_no_teacher(self, reason: str, setting: str) -> None:
        """Check that a form of a family that cannot be a student has no teacher.

        Args:
            reason: why the form cannot be a student.
            setting: selects a form of the family that can.

        Raises:
            ValueError: it has one.
        """
        if self.teacher:
            raise ValueError(
                f"model.teacher = {self.teacher}: a model {reason} cannot be a student; set {setting}, or remove "
                "model.teacher"
            )


FIELDS_OF_THE_TEACHER = (
    "teacher",
    "teacher_sha256",
    "temperature",
    "compare_hidden_states",
    "initialize_from_teacher",
)
"""Fields that concern the training with a teacher, and no property of the trained model."""
