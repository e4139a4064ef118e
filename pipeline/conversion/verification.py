"""Comparison of models that were written with the models that they were made of (law 7).

Both compute the same tokens: random ones in a sequence of the greatest length, and sentences that the tokenizer has
encoded. This project computes them without padding, `transformers` pads them.

Shapes: B sequences, T tokens of all of them, H hidden_size, V vocab_size, C outputs of a head.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pipeline.data.batch import Batch
from pipeline.data.template import Template
from pipeline.families.base import Family, Output
from pipeline.model.config import EncoderConfig
from pipeline.model.pretraining import MaskedLanguageModel, MaskedTokenModel
from pipeline.model.replaced import Discriminator

TOLERANCE = 1e-5
"""Largest difference in fp32 (law 7), relative to the largest value if that is above 1."""
ROUNDING = {torch.bfloat16: 0.1, torch.float16: 0.02}
"""Largest effect of rounding the weights to a type, in the same measure. With 8 and 11 significant bits a weight
changes by up to 0.4 % and 0.05 %. Errors of all layers add up in the outputs, which change several times as much."""
LONGEST = 512
"""Bound on the tokens of the longest sequence that is compared."""
SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "In 1687, Isaac Newton published the laws of motion.",
    "A naïve café owner paid 3.50 € for two crêpes, didn't he?",
    "Return the sum of the elements along the given axis.",
)
"""Real text."""
PAIRS = ((SENTENCES[0], SENTENCES[3]), (SENTENCES[1], SENTENCES[2]))
"""Real text in pairs, for models with segment embeddings."""

PAIR_LOGITS = ("seq_relationship_logits", "sop_logits")
"""Names of the logits of pairs in the classes of `transformers`."""

Outputs = Mapping[str, Tensor]
"""Name -> values of the tokens (T, ...) or of the sequences (B, ...)."""


def sample_batches(tokenizer: Any, template: Template, longest: int, vocab_size: int) -> list[Batch]:
    """Return the batches that are compared: random tokens, and real text as the tokenizer of the export encodes it.

    Args:
        tokenizer: tokenizer of `transformers`.
        template: the family's template.
        longest: tokens of the longest sequence that the model reads.
        vocab_size: V.
    """
    rng = np.random.default_rng(0)
    words = [number for number in range(vocab_size) if number != tokenizer.pad_token_id]
    sizes = (min(longest, LONGEST), min(longest, 7))
    random = [rng.choice(words, size).tolist() for size in sizes]
    halves = [[int(2 * place >= size) for place in range(size)] for size in sizes]
    texts: list[Any] = [*SENTENCES, *(PAIRS if template.segments else ())]
    encoded = [encode(tokenizer, text, longest) for text in texts]
    real, segments = ([sequence[part] for sequence in encoded] for part in (0, 1))
    return [batch_of_ids(random, halves, template), batch_of_ids(real, segments, template)]


def encode(tokenizer: Any, text: str | tuple[str, str], longest: int) -> tuple[list[int], list[int]]:
    """Return the tokens and the segment ids of a text or a pair of texts."""
    parts = (text,) if isinstance(text, str) else text
    inputs = tokenizer(*parts, truncation=True, max_length=longest, return_token_type_ids=True)
    return inputs["input_ids"], inputs["token_type_ids"]


def batch_of_ids(ids: Sequence[Sequence[int]], segments: Sequence[Sequence[int]], template: Template) -> Batch:
    """Return a batch of sequences of token ids (B), which have their special tokens already."""
    sizes = [len(sequence) for sequence in ids]
    counts = {"samples": len(ids), "tokens": sum(sizes)}
    return Batch(
        input_ids=torch.tensor([token for sequence in ids for token in sequence]),
        segment_ids=torch.tensor([one for sequence in segments for one in sequence]) if template.segments else None,
        position_ids=torch.cat([torch.arange(size) for size in sizes]) + template.first_position,
        cu_seqlens=torch.tensor([0, *np.cumsum(sizes)], dtype=torch.int32),
        max_seqlen=max(sizes),
        targets={},
        counts=counts,
        totals=counts,
        sample_ids=np.arange(len(ids)),
        epochs=np.zeros(len(ids), np.int64),
        group=0,
    )


def computable(config: EncoderConfig) -> EncoderConfig:
    """Return the configuration of the same model with kernels that run on this machine, whatever it was trained on."""
    return replace(config, kernels="auto", attention="auto", activation_checkpointing=False, fp8="none")


def pretrained_model(
    family: Family[Any], config: EncoderConfig, vocab_size: int, tensors: Mapping[str, Tensor]
) -> nn.Module:
    """Return the family's model with the given parameters, which it shares."""
    with torch.device("meta"):
        model = family.build(config, vocab_size)
    named = {**tensors, **{alias: tensors[source] for alias, source in family.export.ties.items()}}
    model.load_state_dict(named, strict=True, assign=True)
    return model.eval()


@torch.inference_mode()
def outputs_here(model: Any, batch: Batch) -> Outputs:
    """Return what a model of this project computes.

    These are hidden states (T, H), logits (T,) of a discriminator, and of a masked language model logits (T, V), pooled
    states (B, H) and logits of pairs (B, 2). The logits are those of the head on the encoder's last layer also if the
    model has a mask decoder, which no class of `transformers` has.
    """
    hidden = model.encoder(batch.input_ids, batch.segment_ids, batch.position_ids, batch.cu_seqlens, batch.max_seqlen)
    found = {"hidden states": hidden}
    if isinstance(model, Discriminator):
        found["logits"] = model.detection_head(hidden)
    if isinstance(model, MaskedTokenModel):
        found["logits"] = model.mlm_head(hidden)
    if isinstance(model, MaskedLanguageModel) and model.pair is not None:
        found["pooled states"] = model.pooler(hidden, batch.cu_seqlens[: batch.num_samples])
        found["logits of pairs"] = model.pair_logits(hidden, batch)
    return found


@torch.inference_mode()
def outputs_there(model: Any, batch: Batch, names: Collection[str], kind: Output = "tokens") -> Outputs:
    """Return what a model of `transformers` computes of the named outputs, at the tokens of the batch.

    Args:
        model: a model in evaluation mode.
        batch: tokens without padding, on the CPU; those of a class with choices are the sequences of one question.
        names: "logits" and "logits of pairs" are those of the model, "hidden states" and "pooled states" those of its
            encoder.
        kind: what the class gives. The classes with the heads of pre-training give logits of tokens.
    """
    inputs = padded_inputs(batch, model.config.pad_token_id)
    real = inputs["attention_mask"].bool()  # (B, longest)
    found = {}
    if {"hidden states", "pooled states"} & set(names):
        of_encoder = model.base_model(**inputs)
        found["hidden states"] = of_encoder.last_hidden_state[real]
        found["pooled states"] = of_encoder.get("pooler_output")
    if {"logits", "logits of pairs"} & set(names):
        of_model = model(**({name: values[None] for name, values in inputs.items()} if kind == "choices" else inputs))
        found["logits of pairs"] = next((of_model[name] for name in PAIR_LOGITS if name in of_model), None)
        found["logits"] = logits_of(of_model, real, kind)
    return {name: found[name] for name in names}


def logits_of(output: Any, real: Tensor, kind: Output) -> Tensor:
    """Return the logits of an output of `transformers`: (B, C) of sequences, (T, ...) of tokens without padding.

    Args:
        output: output of a model of a class with a head.
        real: (B, longest), true at tokens.
        kind: what the class gives.
    """
    if kind == "spans":
        spans: Tensor = torch.stack([output.start_logits, output.end_logits], -1)[real]
        return spans
    logits: Tensor = output["prediction_logits" if "prediction_logits" in output else "logits"]
    if kind == "choices":
        return logits[0, :, None]
    return logits[real] if kind == "tokens" else logits


def padded_inputs(batch: Batch, pad_id: int) -> dict[str, Tensor]:
    """Return the arguments (B, longest) of a model of `transformers` for a batch without padding."""
    sizes = batch.lengths.tolist()
    columns = {"input_ids": (batch.input_ids, pad_id), "attention_mask": (torch.ones_like(batch.input_ids), 0)}
    if batch.segment_ids is not None:
        columns["token_type_ids"] = (batch.segment_ids, 0)
    return {
        name: pad_sequence(list(values.split(sizes)), batch_first=True, padding_value=padding)
        for name, (values, padding) in columns.items()
    }


def relative_difference(theirs: Tensor, ours: Tensor) -> float:
    """Return the largest difference, relative to the largest value of `ours` if that is above 1; NaN if one is NaN."""
    return float((theirs - ours).abs().max()) / max(1.0, float(ours.abs().max()))


def largest_difference(theirs: Sequence[Outputs], ours: Sequence[Outputs]) -> dict[str, float]:
    """Return the largest `relative_difference` over batches of each output, NaN if one is NaN.

    Raises:
        ValueError: `theirs` lacks an output that `ours` has.
    """
    found = {}
    for name in ours[0]:
        if theirs[0].get(name) is None:
            raise ValueError(f"the {name} cannot be compared, because the model that was written has none")
        pairs = zip(theirs, ours, strict=True)
        found[name] = float(np.max([relative_difference(left[name], right[name]) for left, right in pairs]))
    return found


def require_same(differences: Mapping[str, float], other: str = "transformers") -> None:
    """Check the differences of a model that was written.

    Args:
        differences: name of an output -> difference.
        other: name of the program that computes the model that was written.

    Raises:
        ValueError: one is above TOLERANCE.
    """
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            raise ValueError(
                f"{other} computes other {name} (difference {difference:.1e} of the largest one, at most "
                f"{TOLERANCE:.0e} is allowed), so that the model was removed; this is a defect of the export, please "
                "report it"
            )
