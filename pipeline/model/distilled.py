"""A masked language model that also learns the outputs of a teacher.

The teacher is no module of the student: the engine neither divides nor casts it, no optimizer sees it, and checkpoints
do not hold it. It has the device and type of the student's hidden states, hence 16 bits in a 16-bit run and fp32 in an
fp32 run, computes without gradients and without dropout, and its logits on masked rows alone. Its outputs follow from
the batch (law 2).

Shapes: T tokens, M masked tokens, H hidden_size.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.losses.cross_entropy import RowSum
from pipeline.losses.distillation import SoftTargets, cosine_distance_sum
from pipeline.model.config import EncoderConfig
from pipeline.model.output import Output, combined
from pipeline.model.pretraining import MaskedLanguageModel, MaskedTokenModel
from pipeline.runlog.terms import Term


class Teacher:
    """A trained model that reads the student's batches of single segments.

    Args:
        model: a model of any family that predicts masked tokens.
        first_position: position id of a sample's first token in that model.
        temperature: divisor of the logits in soft targets.
    """

    def __init__(self, model: MaskedTokenModel, first_position: int, temperature: float) -> None:
        self.model = model.eval().requires_grad_(False)
        self.first_position, self.temperature = first_position, temperature

    @torch.no_grad()
    def outputs(self, batch: Batch, like: Tensor, states: bool = True) -> tuple[Tensor | None, SoftTargets]:
        """Return the hidden states (T, H) of the last layer, and the soft targets of the masked tokens.

        Args:
            batch: a batch of the student, whose positions begin at 0.
            like: tensor whose device and type the teacher takes.
            states: whether hidden states are wanted; otherwise they are None.
        """
        model, word = self.model, self.model.encoder.embeddings.word.weight
        if (word.device, word.dtype) != (like.device, like.dtype):  # at the first batch
            model.to(like.device, like.dtype)
        # A model without segment embeddings ignores the segments.
        segments, positions = torch.zeros_like(batch.input_ids), batch.position_ids + self.first_position
        seen, masked = replace(batch, segment_ids=segments, position_ids=positions), batch.targets["positions"]
        hidden, decoded = model.hidden_and_decoded(seen, masked) if states else (None, model.decoded(seen, masked))
        rows, decoder = model.mlm_head.features(decoded), model.mlm_head.decoder
        return hidden, SoftTargets(rows, decoder.weight, decoder.bias, batch.targets["labels"], self.temperature)


class DistilledModel(MaskedLanguageModel):
    """Encoder and masked-token head, trained on masked tokens and, with a teacher, on its outputs.

    Args:
        config: shape and regularisation.
        vocab_size: number of tokens in the tokenizer.
        alone: term of the masked tokens without a teacher.
        terms: terms with one: masked tokens, soft targets and, if they are compared, hidden states.
        cut: initial weights are drawn from a normal distribution cut at this many standard deviations.
    """

    def __init__(
        self,
        config: EncoderConfig,
        vocab_size: int,
        alone: Term,
        terms: tuple[Term, ...],
        cut: float = math.inf,
    ) -> None:
        super().__init__(config, vocab_size, alone, cut=cut)
        self.terms = terms
        self.teacher: Teacher | None = None

    def forward(self, batch: Batch) -> Output:
        """Returns the losses of one micro-batch."""
        if self.teacher is None:
            return super().forward(batch)
        hidden, labels = self.hidden(batch), batch.targets["labels"]
        rows = hidden.index_select(0, batch.targets["positions"])  # (M, H)
        masked, targets, *states = (term.name for term in self.terms)
        theirs, soft = self.teacher.outputs(batch, like=hidden, states=bool(states))
        found: dict[str, RowSum] = {masked: self.mlm_head(rows, labels), targets: self.mlm_head(rows, soft=soft)}
        if theirs is not None:
            # Padding is behind the real tokens, whose number is read on the device: a CUDA graph serves many batches.
            real = torch.arange(len(hidden), device=hidden.device) < batch.cu_seqlens[batch.num_samples]  # (T,)
            found[states[0]] = cosine_distance_sum(hidden, theirs, real)
        return combined(self.terms, found, batch.totals)
