"""The optimizer's calls inside DeepSpeed under ZeRO-2, timed on every rank; started by `benchmarks.lamb --ranks`."""

import json
import os
import statistics
import time
from typing import Any

import torch
from jsonargparse import auto_cli
from torch import Tensor, nn

from benchmarks.lamb import tensor_shapes
from pipeline.engine.engine import EngineConfig, build, read_settings, start
from pipeline.families.encoders import decays, stacks
from pipeline.optim.lamb import OptimizerConfig
from pipeline.optim.parameters import Parameters
from pipeline.runtime import distributed


class Tensors(nn.Module):
    """A model's parameters without its computation: the gradient of each is a constant."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.names = list(tensor_shapes(model))
        self.tensors = nn.ParameterList(torch.randn(shape) * 0.02 for shape in tensor_shapes(model).values())

    def forward(self, scale: Tensor) -> Tensor:
        """A scalar of which every parameter takes part."""
        return torch.stack([(tensor * scale).sum() for tensor in self.tensors]).sum()


def main(model: str = "large", rounds: int = 9) -> None:
    """Print one JSON line: milliseconds of `optimizer.step` per training step, the slowest rank's median.

    Args:
        model: whose tensors.
        rounds: training steps behind the median.
    """
    os.environ.setdefault("DS_ACCELERATOR", "cpu" if not torch.cuda.is_available() else "cuda")
    device = start(EngineConfig())
    tensors = Tensors(model)
    names = {f"tensors.{number}": name for number, name in enumerate(tensors.names)}
    engine = build(
        tensors,
        Parameters(lambda name: decays(names[name]), lambda name: stacks(names[name])),
        OptimizerConfig(lr=1e-5),
        read_settings(EngineConfig(deepspeed="ds_configs/zero2_fp32.json")),
        device=device,
        micro_batch_size=1,
        accumulation_steps=1,
    )
    spent: list[float] = []
    reductions: list[int] = []
    step, reduce = engine.optimizer.step, engine.optimizer._all_reduce
    assert reduce is not None, "bound"

    def timed_step(closure: Any = None) -> None:
        begin = time.perf_counter()
        step()
        spent[-1] += time.perf_counter() - begin

    def counted_reduce(sums: Tensor) -> None:
        reductions[-1] += 1
        reduce(sums)

    engine.optimizer.step = timed_step  # type: ignore[method-assign]
    engine.optimizer._all_reduce = counted_reduce
    for _ in range(rounds + 1):
        spent.append(0.0)
        reductions.append(0)
        engine.backward(engine.forward(torch.tensor(1e-3, device=device)))
        engine.step(1e-5)
    milliseconds = 1e3 * distributed.all_reduce_max(statistics.median(spent[1:]), device)
    if distributed.is_main():
        figures = {"ranks": distributed.world_size(), "step_ms": milliseconds, "all_reduces": max(reductions)}
        print(json.dumps(figures), flush=True)
    distributed.shutdown()


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
