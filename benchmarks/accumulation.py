"""Errors of sums of 16-bit gradients, with DeepSpeed's defaults and with this pipeline's settings.

`python -m benchmarks.accumulation` trains one step of a small BERT on one CPU rank for each ZeRO stage and number of
micro-batches, and compares the gradient that reaches the optimizer with the float64 sum of the gradients that plain
torch gives for the same micro-batches in the same 16-bit type. Prints a Markdown table of relative errors (the norm of
the difference over the norm).
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Literal
from unittest.mock import patch

import torch
from jsonargparse import auto_cli
from torch import Tensor, nn

from benchmarks.batches import make_batch
from pipeline.data.batch import Batch
from pipeline.engine.engine import DTYPES, Engine, EngineConfig, build, read_settings, start
from pipeline.families.bert import FAMILY, BertConfig
from pipeline.optim.lamb import OptimizerConfig
from pipeline.runtime import distributed

VOCAB_SIZE = 512
CONFIG = BertConfig(64, 2, 2, 256, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
SEQUENCES, LENGTH = 2, 32
Gradients = dict[str, Tensor]


def main(
    micro_batches: list[int] = [16, 128, 512],  # noqa: B006  jsonargparse reads it
    stages: list[int] = [0, 1, 2, 3],  # noqa: B006
    precision: Literal["bf16", "fp16"] = "bf16",
) -> None:
    """Measure all combinations.

    Args:
        micro_batches: of one step.
        stages: of ZeRO, with the JSONs of ds_configs; stage 3 comes last, as it replaces torch's `linear`.
        precision: fp16 needs a device for it.
    """
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    device = start(EngineConfig())
    print("| | DeepSpeed by itself | this |\n|---|---|---|", flush=True)
    for stage in sorted(stages):
        for count in micro_batches:
            errors = []
            for by_itself in (True, False):
                found = accumulated(stage, precision, count, device, by_itself)
                errors.append(relative_error(found, exact(precision, count)))
            print(f"| ZeRO-{stage}, {count} micro-batches | {errors[0]:.2%} | {errors[1]:.1e} |", flush=True)
    distributed.shutdown()


def small_bert() -> nn.Module:
    """A small BERT in training mode, whose weights are the same in each call."""
    torch.manual_seed(0)
    model: nn.Module = FAMILY.build(CONFIG, VOCAB_SIZE)
    return model


def batches(count: int) -> Iterator[Batch]:
    """Return micro-batches of random tokens."""
    return (make_batch([LENGTH] * SEQUENCES, VOCAB_SIZE, seed, 0.15) for seed in range(count))


def accumulated(stage: int, precision: str, count: int, device: torch.device, by_itself: bool) -> Gradients:
    """The gradients that reach the optimizer after `count` micro-batches."""
    config = EngineConfig(f"ds_configs/zero{stage}_{{precision}}.json", precision)  # type: ignore[arg-type]
    with ExitStack() as stack:
        if by_itself:
            stack.enter_context(
                patch("pipeline.engine.engine.with_fp32_sums", lambda settings, stage, precision: settings)
            )
            stack.enter_context(patch("pipeline.engine.engine.sum_in_fp32", lambda engine, stage, precision: None))
            stack.enter_context(patch("pipeline.engine.engine.updates_all_at_once", lambda stage, precision: False))
            stack.enter_context(patch("pipeline.engine.engine.remove_passes", lambda engine, optimizer: None))
        engine = build(
            small_bert(),
            FAMILY.parameters,
            OptimizerConfig(max_grad_norm=0.0),
            read_settings(config),
            device=device,
            micro_batch_size=SEQUENCES,
            accumulation_steps=count,
        )
    found = recording(engine)
    for batch in batches(count):
        engine.backward(engine.forward(batch.to(device)).loss / count)
        engine.step(0.0)
    return found


def recording(engine: Engine) -> Gradients:
    """A dictionary of gradients, which the next step of the optimizer fills."""
    found: Gradients = {}
    step = engine.optimizer.step

    def recorded(closure: None = None) -> None:
        for shard in engine.shards:
            gradient = shard.param.grad
            if gradient is not None:
                for tensor, begin, end, _ in shard.fragments:
                    found[shard.names[tensor]] = gradient.view(-1)[begin:end].double().cpu()
        step(closure)

    engine.optimizer.step = recorded  # type: ignore[method-assign]
    return found


def exact(precision: str, count: int) -> Gradients:
    """The float64 sum of the gradients of each micro-batch alone, by plain torch."""
    model = small_bert().to(DTYPES[precision])
    sums = {name: torch.zeros(p.numel(), dtype=torch.float64) for name, p in model.named_parameters()}
    for batch in batches(count):
        model.zero_grad()
        (model(batch).loss / count).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, "every parameter has a part in the loss"
            sums[name] += parameter.grad.double().flatten()
    return sums


def relative_error(found: Gradients, expected: Gradients) -> float:
    """Return the relative error of all tensors as one vector."""
    difference = sum(float((found[name] - value).square().sum()) for name, value in expected.items())
    return (difference / sum(float(value.square().sum()) for value in expected.values())) ** 0.5


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
