"""Teachers: trained models whose outputs another model, the student, learns beside its own objective.

The teacher is no module of the student: the engine neither divides nor casts it, no optimizer sees it, and checkpoints
do not hold it. It has the device and type of the student's hidden states, hence 16 bits in a 16-bit run and fp32 in an
fp32 run, computes without gradients and without dropout, and its logits on masked rows alone. Its outputs follow from
the batch (law 2).

Shapes: T tokens, M masked tokens, H hidden_size.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.losses.cross_entropy import RowSum
from pipeline.losses.distillation import SoftTargets, cosine_distance_sum
from pipeline.model.heads import MaskedLMHead
from pipeline.runlog.terms import Term

if TYPE_CHECKING:
    from pipeline.model.pretraining import MaskedTokenModel


class Teacher:
    """A trained model that reads the batches of its student.

    Args:
        model: a model of any family that predicts masked tokens.
        shift: position id of a sample's first token in that model, less that in the student.
        temperature: divisor of the logits in soft targets.
        own: terms of the student's loss that it has without a teacher, with their weights beside one.
        soft: term of the soft targets.
        states: term of the hidden states; None: they are not compared.
    """

    def __init__(
        self,
        model: "MaskedTokenModel",
        shift: int,
        temperature: float,
        own: tuple[Term, ...],
        soft: Term,
        states: Term | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.shift, self.temperature = shift, temperature
        self.soft, self.states = soft, states
        self.terms = (*own, soft) if states is None else (*own, soft, states)

    def found(self, head: MaskedLMHead, batch: Batch, rows: Tensor, hidden: Tensor | None) -> dict[str, RowSum]:
        """Return the sums of the terms that the student has of its teacher, by name.

        Args:
            head: the student's head.
            batch: a batch of the student.
            rows: (M, H) states from which the student predicts the masked tokens.
            hidden: (T, H) hidden states of the student's last layer; None is possible if they are not compared.
        """
        theirs, soft = self.outputs(batch, like=rows)
        found: dict[str, RowSum] = {self.soft.name: head(rows, soft=soft)}
        if self.states is not None:
            assert hidden is not None and theirs is not None, "states are compared"
            # Padding is behind the real tokens, whose number is read on the device: a CUDA graph serves many batches.
            real = torch.arange(len(hidden), device=hidden.device) < batch.cu_seqlens[batch.num_samples]  # (T,)
            found[self.states.name] = cosine_distance_sum(hidden, theirs, real)
        return found

    @torch.no_grad()
    def outputs(self, batch: Batch, like: Tensor) -> tuple[Tensor | None, SoftTargets]:
        """Return the hidden states (T, H) of the last layer, or None if they are not compared, and the soft targets of
        the masked tokens.

        Args:
            batch: a batch of the student.
            like: tensor whose device and type the teacher takes.
        """
        model, word = self.model, self.model.encoder.embeddings.word.weight
        if (word.device, word.dtype) != (like.device, like.dtype):  # at the first batch
            model.to(like.device, like.dtype)
        # A student that reads no segments has single ones; a teacher without segment embeddings ignores them.
        segments = torch.zeros_like(batch.input_ids) if batch.segment_ids is None else batch.segment_ids
        # The positions of padding are 0 in every batch, also where those of samples begin later.
        positions = (batch.position_ids + self.shift).clamp(min=0)
        seen, masked = replace(batch, segment_ids=segments, position_ids=positions), batch.targets["positions"]
        if self.states is None:
            hidden, decoded = None, model.decoded(seen, masked)
        else:
            hidden, decoded = model.hidden_and_decoded(seen, masked)
        rows, decoder = model.mlm_head.features(decoded), model.mlm_head.decoder
        return hidden, SoftTargets(rows, decoder.weight, decoder.bias, batch.targets["labels"], self.temperature)
