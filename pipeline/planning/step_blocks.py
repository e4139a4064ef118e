"""The blocks of memory that a training takes and gives back, in their order; `pipeline.planning.memory` reads off them.

What a micro-batch takes is measured (`pipeline.planning.measure`). What the engine takes is written down here after
deepspeed 0.19.8 (runtime/zero/stage_1_and_2.py, stage3.py) and `pipeline.optim`, and held against measured processes on
a CPU. Tensors that come and go together are one block.
"""

from dataclasses import dataclass, replace

import torch

from pipeline.engine.accumulation import updates_all_at_once
from pipeline.engine.settings import Zero
from pipeline.families.base import Family
from pipeline.model.config import EncoderConfig
from pipeline.planning.measure import Activations
from pipeline.planning.timeline import Timeline

FLOAT, DOUBLE = 4, 8
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
    """The largest tensor, shared with the output layer."""
    layer: int
    num_layers: int

    @classmethod
    def of(cls, family: Family, config: EncoderConfig, vocab_size: int) -> "Parameters":
        """Count them on models of one and of two layers, built on the meta device."""

        def sizes(layers: int) -> dict[str, int]:
            shape = replace(config, num_hidden_layers=layers, activation_checkpointing=False)
            with torch.device("meta"):
                return {name: p.numel() for name, p in family.build(shape, vocab_size).named_parameters()}

        one, layers = sizes(1), config.num_hidden_layers
        layer = sum(sizes(2).values()) - sum(one.values())
        return cls(sum(one.values()) + (layers - 1) * layer, one[family.word_embeddings], layer, layers)

    @property
    def pieces(self) -> list[int]:
        """Elements in the order in which the model computes: word embeddings, layers, the rest."""
        rest = self.total - self.word_embeddings - self.num_layers * self.layer
        return [self.word_embeddings, *[self.layer] * self.num_layers, rest]


class StepBlocks:
    """Writes the timeline of a start and two steps; a third would need nothing new.

    P elements on N ranks, e bytes of the model's type. Sums of gradients are fp32 whatever e is
    (`pipeline.engine.accumulation`). In 16 bits they are held by

    * stage 0: 4 P, a tensor for each parameter;
    * stage 1: 4 P, in bf16 one buffer that is always there, in fp16 a tensor for each parameter;
    * stage 2: 4 P / N from the first bucket that is reduced to the update;
    * stage 3: 4 P / N, one buffer that is always there, and the bucket is fp32 too.

    Args:
        parameters: of the model.
        kept: what a micro-batch takes.
        zero: stage and buckets.
        precision: "fp32", "bf16" or "fp16".
        world_size: N.
        on_cpu: whether blocks are in a CPU's heap, where gloo moves them.
    """

    def __init__(
        self, parameters: Parameters, kept: Activations, zero: Zero, precision: str, world_size: int, on_cpu: bool
    ) -> None:
        self.parameters, self.kept, self.zero, self.stage = parameters, kept, zero, zero.stage
        self.low = precision != "fp32"
        self.itemsize = FLOAT // 2 if self.low else FLOAT
        self.one_buffer = zero.stage == 1 and updates_all_at_once(zero.stage, precision)
        self.world_size, self.on_cpu = world_size, on_cpu
        self.timeline = Timeline()
        self.take, self.give, self.brief = self.timeline.take, self.timeline.give, self.timeline.brief
        self.partition = -(-parameters.total // world_size)
        self.grads: list[int] = []  # blocks of gradients that await the optimizer
        self.accumulated = False  # whether they are those of an earlier micro-batch
        self.sums: list[int] = []  # stage 1 in fp16 and 2 in 16 bits: the partition's fp32 sums
        self.fresh: list[int] = []  # stages 1 and 2: the partition that this micro-batch's buckets are emptied into
        self.open: list[int] = []  # stages 1 and 2: buckets
        self.in_bucket = 0  # elements

    def write(self, checkpointed_layers: int, accumulating: bool) -> Timeline:
        """The timeline of so many layers under activation checkpointing, and of steps of one or of two micro-batches."""
        self.timeline.phase("start")
        self._start()
        layers = [number < checkpointed_layers for number in range(self.parameters.num_layers)]
        for _ in range(2):
            for last in (False, True) if accumulating else (True,):
                self.timeline.phase("forward")
                gathered = self._gather()
                ends = self.take("activations", self.kept.ends)
                kept = [self.take("activations", self.kept.layer_input if c else self.kept.layer) for c in layers]
                logits = self.take("logits", self.kept.logits)
                self.brief("temporaries", self.kept.forward)
                self.timeline.phase("backward")
                self._backward(ends, list(zip(kept, layers, strict=True)), logits)
                self._end_backward(last)
                self.give(*gathered)
            self.timeline.phase("step")
            self._optimizer()
        return self.timeline

    def _start(self) -> None:
        """The model in fp32 on the device, cast to e, cut into partitions; masters and moments."""
        total, stage, partition = self.parameters.total, self.stage, self.partition
        # Neighbours in a CPU's heap that are given back one after the other leave one hole.
        pieces = [total] if (self.low or stage) and self.on_cpu else self.parameters.pieces
        own = self.take("weights", FLOAT * self.parameters.word_embeddings)  # the output layer's, until they are shared
        model = [self.take("weights", FLOAT * piece) for piece in pieces]
        self.give(own)
        if self.low:
            model = self._replace(model, [self.itemsize * piece for piece in pieces])
        if stage == 3:
            model = self._replace(model, [-(-self.itemsize * piece // self.world_size) for piece in pieces])
        if stage:  # one flat buffer
            self.take("weights", self.itemsize * (partition if stage == 3 else total))
            self.give(*model)
        if stage or self.low:
            self.take("masters", FLOAT * (partition if stage else total))
        if self.one_buffer:
            self.take("gradients", FLOAT * total)
        elif stage:
            self._zeros()
        for _ in range(2):
            self.take("moments", FLOAT * (partition if stage else total))
        if self.on_cpu and stage and self.world_size > 1:
            self._gloo_copies()

    def _zeros(self) -> None:
        """Gradients with which DeepSpeed sets itself up; at stage 3 its bucket and the sums, which stay."""
        zeros = FLOAT * self.partition
        bucket = FLOAT * self._touched(self.parameters.total) if self.stage == 3 else 0
        if self.on_cpu and 0 < bucket < zeros:
            self.take("gaps", zeros - bucket)  # the bucket is put into the place that they leave; nothing else fits
        else:
            self.brief("temporaries", zeros)
        if self.stage == 3:
            self.take("buckets", bucket)
            self.take("gradients", zeros)

    def _replace(self, blocks: list[int], sizes: list[int]) -> list[int]:
        """Blocks of other sizes in place of `blocks`, one after the other."""
        new = []
        for block, size in zip(blocks, sizes, strict=True):
            new.append(self.take("weights", size))
            self.give(block)
        return new

    def _gloo_copies(self) -> None:
        """gloo's threads copy what they gather; each has a heap of its own, which keeps the largest it could hold."""
        copied = self.itemsize * min(self.parameters.total, self.zero.reduce_bucket if self.stage == 3 else 1 << 62)
        if copied < THREAD_HEAP_BYTES:
            for _ in range(GLOO_THREADS):
                self.take("buckets", copied)

    def _gather(self) -> list[int]:
        """Stage 3: weights that are whole when the forward pass ends, piece by piece."""
        left, blocks = self.zero.kept_gathered(self.parameters.total), []
        for piece in self.parameters.pieces if self.stage == 3 and self.world_size > 1 else []:
            blocks.append(self.take("gathered", self.itemsize * min(piece, left)))
            left -= min(piece, left)
        return blocks

    def _backward(self, ends: int, layers: list[tuple[int, bool]], logits: int) -> None:
        """Gradients come as activations go.

        Args:
            ends, logits: blocks.
            layers: block of each, and whether the layer is computed again.
        """
        word, *_, rest = self.parameters.pieces
        error = self.take("temporaries", max(0, self.kept.head - self.itemsize * word))
        self.open = self._open_buckets()
        decoder = self.take("gradients", self.itemsize * word)
        self.give(error, logits)
        for block, checkpointed in reversed(layers):
            again = [self.take("activations", self.kept.layer)] if checkpointed else []
            working = self.take("temporaries", self.kept.working)
            self._gradient(self.parameters.layer)
            self.give(block, *again, working)
        embedding = self.take("temporaries", self.itemsize * word)  # added to the gradient of the output layer
        if self.stage < 3:
            both = self.take("temporaries", self.itemsize * word)
            self.give(embedding, decoder)
            self._gradient(word, both)
        else:
            self.give(embedding)
            self._gradient(word, decoder)
        self.give(ends)
        self._gradient(rest)

    def _open_buckets(self) -> list[int]:
        """Stages 1 and 2 take theirs at the first gradient; a second one serves while the first is on its way."""
        if self.stage not in (1, 2) or self.one_buffer:
            return []
        itemsize = FLOAT if self.stage == 1 else self.itemsize  # stage 1 puts sums into it
        first = self._touched(self.parameters.total)
        sizes = [first, self._touched(self.parameters.total - first)][: 1 + (self.zero.overlap and self.stage == 2)]
        return [self.take("buckets", itemsize * size) for size in sizes]

    def _touched(self, used: int) -> int:
        """Elements of a bucket that take memory: a CPU's pages do from when they are first written."""
        return min(self.zero.reduce_bucket, used) if self.on_cpu else self.zero.reduce_bucket

    def _gradient(self, size: int, block: int | None = None) -> None:
        """One piece's gradient: kept whole at stages 0 and 1, copied into the bucket at 2 and 3."""
        if block is None:
            block = self.take("gradients", self.itemsize * size)
        if self.stage >= 2:
            self._into_bucket(size)
        elif not self.accumulated and not self.one_buffer:
            if not self.low:
                self.grads.append(block)
                return
            self.grads.append(self.take("gradients", FLOAT * size))
        self.give(block)

    def _into_bucket(self, size: int) -> None:
        if self.in_bucket + size > self.zero.reduce_bucket:
            self._empty_bucket()
        self.in_bucket += size

    def _empty_bucket(self) -> None:
        """Reduce over the ranks a copy of the bucket, counted as if it were full; at stage 3 gloo makes one more."""
        numel = min(self.zero.reduce_bucket, self.parameters.total)
        if self.stage == 3:
            self.give(*[self.take("buckets", FLOAT * numel) for _ in range(1 + self.on_cpu)])
        elif self.low:  # flat in the bucket's type and, at stage 2, converted
            self.brief("buckets", (FLOAT + (self.itemsize if self.stage == 2 else 0)) * numel)
            self.sums = self.sums or [self.take("gradients", FLOAT * self.partition)]
        else:
            if self.world_size > 1:
                self.brief("buckets", self.itemsize * numel)
            # A tensor counts whole where the partition has its start.
            own = max(self.partition, self.parameters.word_embeddings) if self.world_size > 1 else self.partition
            self.fresh = self.fresh or [self.take("gradients", self.itemsize * own)]
        self.in_bucket = 0

    def _end_backward(self, last: bool) -> None:
        """What remains is reduced: by stages 0 and 1 with the last micro-batch only."""
        if (self.stage == 0 or self.one_buffer) and last:
            together = self.one_buffer and self.parameters.total > ALL_REDUCE_NUMEL  # sent as it is
            self.brief("buckets", 0 if together else FLOAT * min(self.parameters.total, ALL_REDUCE_NUMEL))
        elif self.stage == 1 and last:
            for block, size in zip(self.grads, reversed(self.parameters.pieces), strict=True):
                self._into_bucket(size)
                self.give(block)
            self.grads = []
        if self.stage >= 2 or (self.stage == 1 and last and not self.one_buffer):
            self._empty_bucket()
            if self.grads:  # of the micro-batches before: the new ones are added to them
                self.give(*self.fresh)
            else:
                self.grads = self.fresh
        self.give(*self.open)
        self.open, self.fresh, self.accumulated = [], [], not last

    def _optimizer(self) -> None:
        """Norm and update. At stages 1 to 3 gradients are made flat, and the largest is squared in fp64."""
        if self.stage and not self.one_buffer:
            self.brief("temporaries", DOUBLE * min(self.parameters.word_embeddings, self.partition))
            if not self.sums:
                self.brief("gradients", FLOAT * self.partition)
        self.give(*self.grads, *self.sums)
        self.grads, self.sums = [], []
        if self.stage in (1, 2) and self.world_size > 1 and self.on_cpu:  # gloo gathers the weights into a copy
            self.brief("buckets", self.itemsize * self.parameters.total)
