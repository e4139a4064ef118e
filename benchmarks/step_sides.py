"""One side of `benchmarks/training.py`, in a process of its own: `python -m benchmarks.step_sides JSON FD`.

Reads a line per request from standard input, does that many training steps on batches in turn, and answers with a line
of JSON on the file descriptor (libraries print to standard output): their seconds, the last loss, the peak of the
resident set. Sides:

- `this`: the pipeline's own engine, DeepSpeed included, with exact LAMB.
- `stock`: Hugging Face's `BertForPreTraining` as its documentation trains it: padded batches, attention by SDPA, logits
  of every position, `torch.optim.AdamW(foreach=True)`, bf16 by autocast where the processor has it.
- `stock_lamb`: the same with timm's LAMB.
- `tuned`: what its users can do without changing the library: the allocator keeps memory (environment), padding only
  to the longest sequence, the head on masked positions only, fused AdamW.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.batches import make_batch, real_batches
from benchmarks.lamb import MODELS, VOCAB_SIZE
from benchmarks.oracles import timm_lamb
from pipeline.data.batch import Batch
from pipeline.engine import EngineConfig, build, choose_precision, read_settings, start
from pipeline.families.bert import FAMILY
from pipeline.optim.lamb import OptimizerConfig

Step = Callable[[Batch], Tensor]
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": "-1",
    "MALLOC_TOP_PAD_": str(2**28),
}
"""Environment of `tuned`: glibc keeps what it was given, as the pipeline's launcher tells it by mallopt."""


def main(job: dict[str, Any], descriptor: int) -> None:
    """Serves requests until standard input ends."""
    answers = os.fdopen(descriptor, "w")
    step = SIDES[job["side"]](job)
    batches = the_batches(job)
    number = 0
    for line in sys.stdin:
        begin = time.perf_counter()
        for _ in range(int(line)):
            loss = step(batches[number % len(batches)])
            number += 1
        loss_value = float(loss)
        seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "loss": loss_value, "peak_bytes": peak}), file=answers, flush=True)


def the_batches(job: dict[str, Any]) -> list[Batch]:
    """The rank's share of the sequences, the same for all sides."""
    count = job["sequences"] // job["ranks"]
    if job["samples"]:
        return real_batches(Path(job["samples"]), count, 8)
    share = job["masked"] / job["length"]
    return [make_batch([job["length"]] * count, VOCAB_SIZE, seed, share) for seed in range(4)]


def this(job: dict[str, Any]) -> Step:
    """The pipeline's engine."""
    engine_config = EngineConfig(job["deepspeed"], job["precision"])
    device = start(engine_config)
    torch.manual_seed(0)
    engine = build(
        FAMILY.build(MODELS[job["model"]], VOCAB_SIZE),
        FAMILY.no_weight_decay,
        FAMILY.stacked_tensors,
        OptimizerConfig(lr=1e-4),
        read_settings(engine_config),
        device=device,
        micro_batch_size=job["sequences"] // job["ranks"],
        accumulation_steps=1,
    )

    def step(batch: Batch) -> Tensor:
        loss: Tensor = engine.forward(batch).loss
        engine.backward(loss)
        engine.step(1e-4)
        return loss.detach()

    return step


def huggingface(
    job: dict[str, Any],
    make: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    loss_of: Callable[[nn.Module, Batch, int], Tensor],
) -> Step:
    """A plain loop over `BertForPreTraining`."""
    import transformers

    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    config = transformers.BertConfig(**FAMILY.config_to_huggingface(MODELS[job["model"]], VOCAB_SIZE))
    config._attn_implementation = "sdpa"
    model = transformers.BertForPreTraining(config).train()
    optimizer = make([*model.parameters()])
    bf16 = choose_precision(job["precision"]) == "bf16"

    def step(batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_of(model, batch, job["length"])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def padded(batch: Batch, values: Tensor, fill: int, width: int) -> Tensor:
    """(T,) values as rows (B, width)."""
    rows = torch.full((batch.num_samples, width), fill, dtype=values.dtype)
    is_real = torch.arange(width) < batch.lengths[:, None]  # (B, width)
    rows[is_real] = values
    return rows


def inputs(batch: Batch, width: int) -> dict[str, Tensor]:
    """What `BertModel` reads."""
    return {
        "input_ids": padded(batch, batch.input_ids, 0, width),
        "token_type_ids": padded(batch, batch.token_type_ids, 0, width),
        "attention_mask": padded(batch, torch.ones_like(batch.input_ids), 0, width),
    }


def stock_loss(model: nn.Module, batch: Batch, width: int) -> Tensor:
    """The model's own, every position computed, every sequence padded to `width`."""
    labels = torch.full_like(batch.input_ids, -100).index_copy_(0, batch.masked_positions, batch.masked_labels)
    out = model(
        **inputs(batch, width),
        labels=padded(batch, labels, -100, width),
        next_sentence_label=batch.pair_labels,
    )
    loss: Tensor = out.loss
    return loss


def tuned_loss(model: Any, batch: Batch, _: int) -> Tensor:
    """The head on masked positions only; padded to the longest sequence."""
    out = model.bert(**inputs(batch, batch.max_seqlen))
    is_real = torch.arange(batch.max_seqlen) < batch.lengths[:, None]  # (B, width)
    rows = out.last_hidden_state[is_real][batch.masked_positions]  # (M, H)
    tokens = functional.cross_entropy(model.cls.predictions(rows).float(), batch.masked_labels)
    pairs = functional.cross_entropy(model.cls.seq_relationship(out.pooler_output).float(), batch.pair_labels)
    return tokens + pairs


def adamw(parameters: list[nn.Parameter], **options: bool) -> torch.optim.Optimizer:
    """torch's."""
    return torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01, **options)  # type: ignore[arg-type]


SIDES: dict[str, Callable[[dict[str, Any]], Step]] = {
    "this": this,
    "stock": partial(huggingface, make=partial(adamw, foreach=True), loss_of=stock_loss),
    "stock_lamb": partial(
        huggingface, make=lambda parameters: timm_lamb()(parameters, lr=1e-4, weight_decay=0.01), loss_of=stock_loss
    ),
    "tuned": partial(huggingface, make=partial(adamw, fused=True), loss_of=tuned_loss),
}

if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]))
