"""The sequence of allocations of a training step, from which `pipeline.planning.memory` computes the peak.

Memory of a micro-batch is measured (`pipeline.planning.measure`). Memory of the engine follows from the code of
deepspeed 0.19.8 (runtime/zero/stage_1_and_2.py, stage3.py) and of `pipeline.optim`, and was compared with measured
processes on a CPU. Tensors that are allocated and freed together are one block.
"""

from pipeline.engine.accumulation import updates_all_at_once
from pipeline.engine.settings import Zero
from pipeline.planning.measure import Activations
from pipeline.planning.parameters import Parameters
from pipeline.planning.timeline import Timeline

FLOAT, DOUBLE = 4, 8
GLOO_THREADS = 2
"""Number of threads of a gloo process group of torch."""
THREAD_HEAP_BYTES = 64 * 2**20
"""Largest heap of a thread in glibc; larger blocks come from the heap of the process."""
ALL_REDUCE_NUMEL = 500_000_000
"""Number of gradients that DeepSpeed's engine copies for an all-reduce at stage 0, and at stage 1 in bf16."""


class StepBlocks:
    """Writes the timeline of a start and a step, for P weights of e bytes on N ranks.

    Sums of gradients are in fp32 whatever e is (`pipeline.engine.accumulation`). In 16 bits they take, in bytes,

    * stage 0: 4 P, a tensor for each parameter;
    * stage 1: 4 P, in bf16 one permanent buffer, in fp16 a tensor for each parameter;
    * stage 2: 4 P / N from the first bucket that is reduced to the update;
    * stage 3: 4 P / N, one permanent buffer, and the bucket is in fp32 too.

    The blocks of reduction and norm are those of DeepSpeed's own steps, on which the estimates were compared with
    measurements. `pipeline.engine.passes` needs fewer at stages 0 to 2, so that these are upper bounds.

    Args:
        parameters: numbers of weights of the model.
        kept: memory of a micro-batch.
        zero: stage and buckets.
        precision: "fp32", "bf16" or "fp16".
        world_size: number of ranks N.
        on_cpu: whether training is on a CPU, with gloo.
        muon: number of weights that Muon updates: one moment instead of two, and copies in its exchange.
        averaged: whether the weights are averaged.
    """

    def __init__(
        self,
        parameters: Parameters,
        kept: Activations,
        zero: Zero,
        precision: str,
        world_size: int,
        on_cpu: bool,
        muon: int = 0,
        averaged: bool = False,
    ) -> None:
        self.parameters, self.kept, self.zero, self.stage = parameters, kept, zero, zero.stage
        self.low = precision != "fp32"
        self.itemsize = FLOAT // 2 if self.low else FLOAT
        self.one_buffer = zero.stage == 1 and updates_all_at_once(zero.stage, precision)
        self.world_size, self.on_cpu, self.averaged = world_size, on_cpu, averaged
        self.partition = -(-parameters.total // world_size)
        self.muon = -(-muon // world_size) if zero.stage else muon
        self.bucket = min(zero.reduce_bucket, parameters.total)  # number of elements of a full bucket
        self.timeline = Timeline()
        self.take, self.give = self.timeline.take, self.timeline.give
        self.whole: list[int] = []  # stages 0 and 1: blocks of unpartitioned gradients
        self.sums: list[int] = []  # stages 1 and 2: blocks of the partition's sums
        self.in_bucket = 0  # number of elements

    def write(self, checkpointed_layers: int, accumulating: bool) -> Timeline:
        """Return the timeline of a start and a step.

        Args:
            checkpointed_layers: number of layers under activation checkpointing.
            accumulating: whether the step has two micro-batches, which stand for any larger number, or one.
        """
        self.timeline.phase("start")
        self._start()
        layers = [number < checkpointed_layers for number in range(self.parameters.num_layers)]
        for last in (False, True) if accumulating else (True,):
            self.timeline.phase("forward")
            gathered = self._gather()
            ends = self.take("activations", self.kept.ends)
            kept = [self.take("activations", self.kept.layer_input if c else self.kept.layer) for c in layers]
            logits = self.take("logits", self.kept.logits)
            self.timeline.phase("backward")
            self._backward(ends, list(zip(kept, layers, strict=True)), logits, last)
            self.give(*gathered)
        self.timeline.phase("step")
        self._optimizer()
        return self.timeline

    def _brief(self, part: str, size: int) -> None:
        self.give(self.take(part, size))

    def _start(self) -> None:
        """Write the start: the model in fp32 on the device, cast and partitioned; master weights and moments."""
        total, stage, pieces = self.parameters.total, self.stage, self.parameters.pieces
        own = self.partition if stage else total
        model = [self.take("weights", FLOAT * piece) for piece in pieces]
        if self.low:
            model = self._replace(model, [self.itemsize * piece for piece in pieces])
        if stage == 3:
            model = self._replace(model, [-(-self.itemsize * piece // self.world_size) for piece in pieces])
        if stage:  # one flat buffer
            self.take("weights", self.itemsize * (own if stage == 3 else total))
            self.give(*model)
        if stage or self.low:
            self.take("masters", FLOAT * own)
        if self.one_buffer or stage == 3:
            self.take("gradients", FLOAT * (total if self.one_buffer else own))
        if stage == 3:
            self.take("buckets", FLOAT * self._touched(total))
        self.take("moments", FLOAT * ((2 + self.averaged) * own - self.muon))
        self.take("auxiliary", self.itemsize * self.parameters.auxiliary)
        self._gloo_copies()

    def _replace(self, blocks: list[int], sizes: list[int]) -> list[int]:
        """Replace blocks by others of given sizes, one after the other; returns the new blocks."""
        new = []
        for block, size in zip(blocks, sizes, strict=True):
            new.append(self.take("weights", size))
            self.give(block)
        return new

    def _gloo_copies(self) -> None:
        """Write the copies of gloo's threads, of gathered data and, if they overlap with computation, reduced data.

        Each thread has a heap, which keeps the largest copies that fit into it.
        """
        copied = self.itemsize * (self.bucket if self.stage == 3 else self.parameters.total)
        if self.on_cpu and self.stage and self.world_size > 1 and copied < THREAD_HEAP_BYTES:
            for _ in range(GLOO_THREADS * (1 + self.zero.overlap)):
                self.take("buckets", copied)

    def _gather(self) -> list[int]:
        """Write the weights that stay gathered after the forward pass at stage 3; returns their blocks."""
        left, blocks = self.zero.kept_gathered(self.parameters.total), []
        for piece in self.parameters.pieces if self.stage == 3 and self.world_size > 1 else []:
            blocks.append(self.take("gathered", self.itemsize * min(piece, left)))
            left -= min(piece, left)
        return blocks

    def _backward(self, ends: int, layers: list[tuple[int, bool]], logits: int, last: bool) -> None:
        """Write a backward pass, in which gradients are allocated and activations freed.

        Args:
            ends: block of the activations of embeddings and heads.
            layers: block of each layer's activations, and whether the layer is recomputed.
            logits: block of the logits.
            last: whether this is the step's last micro-batch.
        """
        word, *_, rest = (self.itemsize * piece for piece in self.parameters.pieces)
        error = self.take("temporaries", max(0, self.kept.head - word))
        buckets = self._open_buckets()
        decoder = self.take("gradients", word)
        self.give(error, logits)
        for block, checkpointed in reversed(layers):
            again = [self.take("activations", self.kept.layer)] if checkpointed else []
            working = self.take("temporaries", self.kept.working)
            self._gradient(self.parameters.layer)
            self.give(block, *again, working)
        embedding = self.take("temporaries", word)  # is added to the gradient of the output layer
        if self.stage < 3:
            both = self.take("temporaries", word)
            self.give(embedding, decoder)
            self._gradient(self.parameters.word, both)
        else:
            self.give(embedding)
            self._gradient(self.parameters.word, decoder)
        self.give(ends)
        self._gradient(rest // self.itemsize)
        self._end_backward(last)
        self.give(*buckets)

    def _open_buckets(self) -> list[int]:
        """Write the buckets that stages 1 and 2 allocate at the first gradient; with overlap, stage 2 has two."""
        if self.stage not in (1, 2) or self.one_buffer:
            return []
        itemsize = FLOAT if self.stage == 1 else self.itemsize  # stage 1 has sums in it
        first = self._touched(self.parameters.total)
        sizes = [first, self._touched(self.parameters.total - first)][: 1 + (self.zero.overlap and self.stage == 2)]
        return [self.take("buckets", itemsize * size) for size in sizes]

    def _touched(self, used: int) -> int:
        """Return the elements of a bucket that take memory; on a CPU only pages that were written do."""
        return min(self.zero.reduce_bucket, used) if self.on_cpu else self.zero.reduce_bucket

    def _gradient(self, size: int, block: int | None = None) -> None:
        """Write the gradient of a piece, which stages 0 and 1 keep, and stages 2 and 3 copy into the bucket."""
        if block is None:
            block = self.take("gradients", self.itemsize * size)
        if self.stage >= 2:
            self._into_bucket(size)
        elif (
            len(self.whole) < len(self.parameters.pieces) and not self.one_buffer
        ):  # otherwise it is added to an earlier one
            if not self.low:
                self.whole.append(block)
                return
            self.whole.append(self.take("gradients", FLOAT * size))
        self.give(block)

    def _into_bucket(self, size: int) -> None:
        if self.in_bucket + size > self.zero.reduce_bucket:
            self._empty_bucket()
        self.in_bucket += size

    def _empty_bucket(self) -> None:
        """Write the reduction of a copy of the bucket, counted as full; at stage 3 gloo makes another copy."""
        self.in_bucket = 0
        if self.stage == 3:
            self.give(*[self.take("buckets", FLOAT * self.bucket) for _ in range(1 + self.on_cpu)])
            return
        if self.low or self.world_size > 1:  # in 16 bits stage 2 has the bucket in both types
            self._brief("buckets", (FLOAT + (self.itemsize if self.low and self.stage == 2 else 0)) * self.bucket)
        self.sums = self.sums or [self.take("gradients", FLOAT * self.partition)]

    def _end_backward(self, last: bool) -> None:
        """Write the reduction after a backward pass, which stages 0 and 1 make for the last micro-batch only."""
        if self.stage >= 2:
            self._empty_bucket()
        elif last and (self.stage == 0 or self.one_buffer):
            if (
                not self.one_buffer or self.parameters.total <= ALL_REDUCE_NUMEL
            ):  # a large buffer is sent without a copy
                self._brief("buckets", FLOAT * min(self.parameters.total, ALL_REDUCE_NUMEL))
        elif last:
            for block, size in zip(self.whole, reversed(self.parameters.pieces), strict=True):
                self._into_bucket(size)
                self.give(block)
            self.whole = []
            self._empty_bucket()

    def _optimizer(self) -> None:
        """Write norm and update. Stages 1 to 3 flatten gradients, and square the largest one in float64.

        Of Muon's matrices a rank has the updates that it computes, what it sends, and what it receives.
        """
        flat = []
        if self.stage and not self.one_buffer:
            self._brief("temporaries", DOUBLE * min(self.parameters.word, self.partition))
            if self.stage == 3 or not self.low:
                flat.append(self.take("gradients", FLOAT * self.partition))
        if self.muon:
            copies = 1 if self.world_size == 1 else 3 if self.stage else 2  # stage 0: 1 / N, and twice (N - 1) / N
            self._brief("temporaries", FLOAT * copies * self.muon)
        self.give(*flat, *self.whole, *self.sums)
