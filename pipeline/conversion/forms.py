"""The forms in which a checkpoint can be exported: what a class of `transformers` is for, whichever the family."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FormName = Literal[
    "pretraining",
    "masked_lm",
    "encoder",
    "sequence_classification",
    "token_classification",
    "question_answering",
    "multiple_choice",
]
"""Names of the forms on the command line, which also takes hyphens in place of the underscores."""
Dtype = Literal["float32", "bfloat16", "float16"]
"""Types of the weights of an export."""


@dataclass(frozen=True)
class Form:
    """What an exported model is for."""

    auto_class: str
    """Class of `transformers` that loads it for every family."""
    pipeline_tag: str
    """Task of the model on a hub, which is also a pipeline of `transformers`; empty: there is none."""
    mapping: str = ""
    """Mapping in `transformers` from a configuration to the family's class; empty: the class with which the family
    exports its pre-training heads."""
    labelled: bool = False
    """Whether the number of classes is a choice of the export."""


FORMS: Mapping[str, Form] = {
    "pretraining": Form("AutoModelForMaskedLM", "fill-mask"),
    "masked_lm": Form("AutoModelForMaskedLM", "fill-mask", "MODEL_FOR_MASKED_LM_MAPPING"),
    "encoder": Form("AutoModel", "feature-extraction", "MODEL_MAPPING"),
    "sequence_classification": Form(
        "AutoModelForSequenceClassification",
        "text-classification",
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
        labelled=True,
    ),
    "token_classification": Form(
        "AutoModelForTokenClassification",
        "token-classification",
        "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING",
        labelled=True,
    ),
    "question_answering": Form(
        "AutoModelForQuestionAnswering", "question-answering", "MODEL_FOR_QUESTION_ANSWERING_MAPPING"
    ),
    "multiple_choice": Form("AutoModelForMultipleChoice", "multiple-choice", "MODEL_FOR_MULTIPLE_CHOICE_MAPPING"),
}
IN_PARTS = Form("AutoModelForPreTraining", "feature-extraction")
"""What the model in the directory itself is for, if the heads of pre-training are in several models."""
ENCODER_IN_PARTS = Form("AutoModel", "feature-extraction")
"""The same if `transformers` has no class with the heads of the model in the directory itself."""
