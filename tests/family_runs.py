"""Small runs of every family."""

from samples import make_samples
from teacher_cases import write_teacher

from pipeline.families import get_family

OPTIONS = {
    "albert": ("sop", ["--model.embedding_size", "16", "--model.activation_checkpointing", "1"]),
    "bert": ("nsp", []),
    "deberta": (
        "blocks",
        [
            *("--model.position_buckets", "8", "--model.objective", "replaced"),
            # A forward pass has many small operations.
            *("--model.hidden_size", "16", "--batch.global_batch_size", "8", "--evaluation.samples", "8"),
        ],
    ),
    "distilbert": ("blocks", ["--model.teacher", "{teacher}", "--model.num_hidden_layers", "1"]),
    "electra": ("electra", ["--model.embedding_size", "16", "--model.generator_fraction", "0.5"]),
    "megatron_bert": ("sop", []),
    "modernbert": ("blocks", ["--model.local_attention", "8", "--model.attention_output_dropout_prob", "0.1"]),
    "roberta": ("full_sentences", []),
    "spanbert": ("blocks", ["--model.span_position_size", "8"]),
}
"""Family -> the preprocessing's `--segments`, and options that give the recipe of the tests its shape."""
STUDENT = ["--model.teacher", "{teacher}", "--model.num_hidden_layers", "1"]
"""Options of a student of a family whose runs in `OPTIONS` have no teacher."""


def prepared(folder, family, further=(), **sizes):
    """Write samples, and a teacher where the options name one; return the samples and the options of a run.

    Args:
        folder: an existing directory.
        family: name of the family.
        further: further options.
        sizes: options of `make_samples`.
    """
    segments, options = OPTIONS[family]
    options = [*options, *further]
    pad_id = get_family(family).template.pad_id or 0
    samples = make_samples(folder / "samples", segments=segments, pad_id=pad_id, **sizes)
    if "{teacher}" in options:
        teacher = write_teacher(folder, samples)
        options = [option.format(teacher=teacher) for option in options]
    return samples, ["--family", family, "--model.max_position_embeddings", "36", *options]
