"""The blocks of memory that a training takes and gives back, in their order; `pipeline.planning.memory` reads off them.

Written after deepspeed 0.19.8 (runtime/zero/stage_1_and_2.py, stage3.py), torch's autograd and `pipeline.optim`, and
held against the allocator's own record of steps on a CPU. Tensors that come and go together are one block.
"""

from dataclasses import dataclass

import torch

from pipeline.engine.accumulation import updates_all_at_once
from pipeline.engine.settings import Zero
from pipeline.families.base import Family
from pipeline.model.encoder import EncoderConfig
from pipeline.planning.activations import FLOAT, Activations
from pipeline.planning.timeline import Timeline

DOUBLE = 8
GLOO_THREADS = 2
"""Of a process group, as torch makes it."""
THREAD_HEAP_BYTES = 64 * 2**20
"""The largest heap that glibc gives a thread; what is larger comes from the process's."""
ALL_REDUCE_NUMEL = 500_000_000
"""Gradients from which on DeepSpeed's engine all-reduces at stage 0, and at stage 1 in bf16: so many are copied."""


@dataclass(frozen=True)
class Parameters:
    """Numbers of elements of a model's weights."""

    total: int
    word_embeddings: int
    """The largest tensor, by far; shared with the output layer."""
    layer: int
    num_layers: int

    @classmethod
    def of(cls, family: Family, config: EncoderConfig, vocab_size: int) -> "Parameters":
        """Counted on the model itself, built without memory."""
        with torch.device("meta"):
            model = family.build(config, vocab_size)
        sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
        layer = sum(size for name, size in sizes.items() if name.startswith("encoder.layers.0."))
        return cls(sum(sizes.values()), sizes[family.word_embeddings], layer, config.num_hidden_layers)

    @property
    def pieces(self) -> list[int]:
        """Elements in the order in which the model computes: word embeddings, layers, the rest."""
        rest = self.total - self.word_embeddings - self.num_layers * self.layer
        return [self.word_embeddings, *[self.layer] * self.num_layers, rest]


class StepBlocks:
    """Writes the timeline of a start and some steps. P elements on N ranks, e bytes of the model's type.

    Sums of gradients are fp32 whatever e is (`pipeline.engine.accumulation`). In 16 bits they are held by

    * stage 0: 4 P, a tensor for each parameter;
    * stage 1: 4 P, in bf16 one buffer that is always there, in fp16 a tensor for each parameter;
    * stage 2: 4 P / N from the first bucket that is reduced to the update;
    * stage 3: 4 P / N, one buffer that is always there, and the bucket is fp32 too.
    """

    def __init__(
        self, parameters: Parameters, kept: Activations, zero: Zero, precision: str, world_size: int, on_cpu: bool
    ) -> None:
        self.parameters, self.kept, self.zero = parameters, kept, zero
        self.itemsize = FLOAT if precision == "fp32" else FLOAT // 2
        self.low = precision != "fp32"
        self.one_buffer = zero.stage == 1 and updates_all_at_once(zero.stage, precision)
        self.world_size, self.on_cpu = world_size, on_cpu
        self.timeline = Timeline()
        self.partition = -(-parameters.total // world_size)
        self.grads: list[int] = []  # blocks of gradients that await the optimizer
        self.accumulated = False  # whether they are those of an earlier micro-batch
        self.sums: list[int] = []  # stage 1 in fp16 and 2 in 16 bits: the partition's fp32 sums
        self.fresh: list[int] = []  # stage 1 and 2: the partition that this micro-batch's buckets are emptied into
        self.buckets: list[int] = []
        self.in_bucket = 0  # elements

    def write(self, checkpointed_layers: int, accumulating: bool) -> Timeline:
        """The start and two steps; a third would need nothing new."""
        self.timeline.phase("start")
        self._start()
        for _ in range(2):
            for last in (False, True) if accumulating else (True,):
                self.timeline.phase("forward")
                blocks = self._forward(checkpointed_layers)
                self.timeline.phase("backward")
                self._backward(blocks, checkpointed_layers)
                self._end_backward(last)
                self.timeline.give(*blocks["gathered"])
            self.timeline.phase("step")
            self._optimizer()
        return self.timeline

    def _start(self) -> None:
        """The model in fp32 on the device, cast to e, cut into partitions; masters and moments."""
        take, give = self.timeline.take, self.timeline.give
        total, pieces, stage = self.parameters.total, self.parameters.pieces, self.zero.stage
        own = take("weights", FLOAT * pieces[0])  # the output layer's, before it shares the embeddings'
        low = self.low
        # Neighbours in a CPU's heap, given back one after the other: what they leave is one hole.
        fp32 = [total] if (low or stage) and self.on_cpu else pieces
        model = [take("weights", FLOAT * piece) for piece in fp32]
        give(own)
        if low:
            model = self._cast(model, pieces)
        if stage in (1, 2):  # one flat buffer
            take("weights", self.itemsize * total)
            give(*model)
        if stage == 3:  # partitions, then one flat buffer of them
            cut = self._cut(model, pieces)
            take("weights", self.itemsize * self.partition)
            give(*cut)
        if stage or low:
            take("masters", FLOAT * self.partition if stage else FLOAT * total)
        if self.one_buffer:
            take("gradients", FLOAT * total)
        bucket = FLOAT * self._touched(self.zero.reduce_bucket, total) if stage == 3 else 0
        zeros = FLOAT * self.partition  # gradients with which DeepSpeed sets itself up
        if self.on_cpu and 0 < bucket < zeros:
            take("gaps", zeros - bucket)  # the bucket is put into the place that they leave; nothing else fits there
        elif stage and not self.one_buffer:
            self.timeline.brief("temporaries", zeros)
        if stage == 3:
            take("buckets", bucket)
            take("gradients", FLOAT * self.partition)
        take("moments", FLOAT * (self.partition if stage else total))
        take("moments", FLOAT * (self.partition if stage else total))
        if self.on_cpu and stage and self.world_size > 1:
            self._gloo_copies()

    def _cast(self, model: list[int], pieces: list[int]) -> list[int]:
        """Piece by piece, or all at once where the model is one block."""
        if len(model) == len(pieces):
            return [self._replace(old, self.itemsize * piece) for old, piece in zip(model, pieces, strict=True)]
        cast = [self.timeline.take("weights", self.itemsize * piece) for piece in pieces]
        self.timeline.give(*model)
        return cast

    def _cut(self, model: list[int], pieces: list[int]) -> list[int]:
        """This rank's part of every piece, in the pieces' place; on a CPU, neighbours again."""
        if self.on_cpu:
            part = self.timeline.take("weights", self.itemsize * self.partition)
            self.timeline.give(*model)
            return [part]
        return [
            self._replace(old, -(-self.itemsize * piece // self.world_size))
            for old, piece in zip(model, pieces, strict=True)
        ]

    def _gloo_copies(self) -> None:
        """gloo's threads copy what they gather; each has a heap of its own, which keeps the largest it could hold."""
        numel = self.parameters.total
        copied = self.itemsize * (min(numel, self.zero.reduce_bucket) if self.zero.stage == 3 else numel)
        if copied < THREAD_HEAP_BYTES:
            for _ in range(GLOO_THREADS):
                self.timeline.take("buckets", copied)

    def _forward(self, checkpointed: int) -> dict[str, list[int]]:
        """Activations; at stage 3 the weights are gathered for them."""
        take, kept, layers = self.timeline.take, self.kept, self.parameters.num_layers
        gathered = []
        if self.zero.stage == 3 and self.world_size > 1:
            gathered = self._gather()
        ends = [take("activations", kept.embeddings)]
        blocks = [take("activations", kept.layer_input if n < checkpointed else kept.layer) for n in range(layers)]
        ends.append(take("activations", kept.head))
        logits = [take("logits", kept.logits.kept)]
        self.timeline.brief("logits", kept.logits.forward)
        self.timeline.brief("temporaries", kept.chunk)
        return {"gathered": gathered, "layers": blocks, "ends": ends, "logits": logits}

    def _gather(self) -> list[int]:
        """Weights that are whole when the forward pass ends, piece by piece."""
        left, blocks = self.zero.kept_gathered(self.parameters.total), []
        for piece in self.parameters.pieces:
            blocks.append(self.timeline.take("gathered", self.itemsize * min(piece, left)))
            left -= min(piece, left)
        return blocks

    def _backward(self, blocks: dict[str, list[int]], checkpointed: int) -> None:
        """Gradients come as activations go."""
        take, give, kept = self.timeline.take, self.timeline.give, self.kept
        word, *layers, rest = self.parameters.pieces
        error = take("logits", kept.logits.backward)
        self.timeline.brief("temporaries", kept.chunk)
        if kept.logits.backward:  # where it is written over the logits, they stay for it
            give(*blocks["logits"])
        self._open_buckets()
        if kept.logits.chunked:  # the chunks' sum in fp32, and a chunk's share
            self.timeline.brief("temporaries", (FLOAT + self.itemsize) * word)
        decoder = take("gradients", self.itemsize * word)
        give(error, blocks["ends"][1], *([] if kept.logits.backward else blocks["logits"]))
        for number, size in reversed(list(enumerate(layers))):
            block = blocks["layers"][number]
            again = [take("activations", kept.layer)] if number < checkpointed else []
            working = take("temporaries", kept.working)
            self._gradient(size)
            give(block, *again, working)
        embedding = take("temporaries", self.itemsize * word)  # the embedding's gradient, as wide as the vocabulary
        if self.zero.stage < 3:
            both = take("temporaries", self.itemsize * word)
            give(embedding, decoder)
            self._gradient(word, both)
        else:
            give(embedding)
            self._gradient(word, decoder)
        give(blocks["ends"][0])
        self._gradient(rest)

    def _open_buckets(self) -> None:
        """Stages 1 and 2 take theirs at the first gradient; a second one serves while the first is on its way."""
        if self.zero.stage in (1, 2) and not self.one_buffer:
            itemsize = FLOAT if self.zero.stage == 1 else self.itemsize  # stage 1 puts sums into it
            first = self._touched(self.zero.reduce_bucket, self.parameters.total)
            self.buckets = [self.timeline.take("buckets", itemsize * first)]
            if self.zero.overlap and self.zero.stage == 2:
                second = self._touched(self.zero.reduce_bucket, self.parameters.total - first)
                self.buckets.append(self.timeline.take("buckets", itemsize * second))

    def _touched(self, bucket: int, used: int) -> int:
        """Elements of a bucket that take memory: a CPU's pages do from when they are first written."""
        return min(bucket, used) if self.on_cpu else bucket

    def _replace(self, old: int, size: int) -> int:
        new = self.timeline.take("weights", size)
        self.timeline.give(old)
        return new

    def _gradient(self, size: int, block: int | None = None) -> None:
        """One piece's gradient: kept whole at stages 0 and 1, copied into the bucket at 2 and 3."""
        if block is None:
            block = self.timeline.take("gradients", self.itemsize * size)
        if self.zero.stage >= 2:
            self._into_bucket(size)
            self.timeline.give(block)
        elif self.accumulated or self.one_buffer:
            self.timeline.give(block)
        elif self.low:
            self.grads.append(self.timeline.take("gradients", FLOAT * size))
            self.timeline.give(block)
        else:
            self.grads.append(block)

    def _into_bucket(self, size: int) -> None:
        if self.in_bucket + size > self.zero.reduce_bucket:
            self._empty_bucket()
        self.in_bucket += size

    def _empty_bucket(self) -> None:
        """Reduce over the ranks a copy of the bucket, counted as if it were full; at stage 3 gloo makes one more."""
        numel = min(self.zero.reduce_bucket, self.parameters.total)
        if self.zero.stage == 3:
            self.timeline.give(*[self.timeline.take("buckets", FLOAT * numel) for _ in range(1 + self.on_cpu)])
        elif self.low:  # flat in the bucket's type and, at stage 2, converted
            self.timeline.brief("buckets", (FLOAT + (self.itemsize if self.zero.stage == 2 else 0)) * numel)
            if not self.sums:
                self.sums = [self.timeline.take("gradients", FLOAT * self.partition)]
        else:
            if self.world_size > 1:
                self.timeline.brief("buckets", self.itemsize * numel)
            if not self.fresh:
                self.fresh = [self.timeline.take("gradients", self.itemsize * self._own_gradients())]
        self.in_bucket = 0

    def _own_gradients(self) -> int:
        """Elements that stages 1 and 2 keep after reducing: a tensor counts whole where the partition has its start."""
        return max(self.partition, self.parameters.word_embeddings) if self.world_size > 1 else self.partition

    def _end_backward(self, last: bool) -> None:
        """What remains is reduced: by stages 0 and 1 with the last micro-batch only."""
        if (self.zero.stage == 0 or self.one_buffer) and last:
            self.timeline.brief("buckets", FLOAT * self._all_reduced_together())
        elif self.zero.stage == 1 and last:
            for block, size in zip(self.grads, reversed(self.parameters.pieces), strict=True):
                self._into_bucket(size)
                self.timeline.give(block)
            self.grads = []
        if self.zero.stage >= 2 or (self.zero.stage == 1 and last and not self.one_buffer):
            self._empty_bucket()
            if self.grads and self.fresh:  # added to those of the micro-batches before
                self.timeline.give(*self.fresh)
            elif self.fresh:
                self.grads = self.fresh
        self.timeline.give(*self.buckets)
        self.buckets, self.fresh, self.accumulated = [], [], not last

    def _all_reduced_together(self) -> int:
        """Elements that are copied for one all-reduce; a buffer that is large enough alone is not copied."""
        if self.one_buffer and self.parameters.total > ALL_REDUCE_NUMEL:
            return 0
        return min(self.parameters.total, ALL_REDUCE_NUMEL)

    def _optimizer(self) -> None:
        """Norm and update. At stages 1 to 3 gradients are made flat, and the largest is squared in fp64."""
        take, give = self.timeline.take, self.timeline.give
        if self.zero.stage and not self.one_buffer:
            self.timeline.brief("temporaries", DOUBLE * min(self.parameters.word_embeddings, self.partition))
            if not self.sums:
                give(take("gradients", FLOAT * self.partition))
        give(*self.grads, *self.sums)
        self.grads, self.sums = [], []
        if self.zero.stage in (1, 2) and self.world_size > 1 and self.on_cpu:  # gloo gathers the weights into a copy
            self.timeline.brief("buckets", self.itemsize * self.parameters.total)
