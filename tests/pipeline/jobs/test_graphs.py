"""CUDA graphs are used where the recipe wants them and they can be, and the log says which."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pipeline.config import parse
from pipeline.engine import graphs
from pipeline.jobs.graphs import use_graphs

DEMO = Path(__file__).parents[3] / "pipeline" / "recipes" / "demo.toml"
WANTED = ["--data.token_multiple", "1024", "--data.fixed_shapes", "true", "--engine.cuda_graphs", "true"]


@pytest.mark.parametrize(
    ("options", "device", "line"),
    [
        ([], "cuda", ""),
        (WANTED, "cpu", "engine.cuda_graphs: not used, because the device is cpu"),
        (WANTED[4:], "cuda", "engine.cuda_graphs: not used, because nearly every micro-batch has a shape of its own"),
        (WANTED, "cuda", "engine.cuda_graphs: the passes of a micro-batch are launched as CUDA graphs"),
    ],
)
def test_the_log_says_whether_graphs_are_used(monkeypatch, options, device, line):
    """The forward pass is replaced in the last case only."""
    monkeypatch.setattr(graphs, "CudaCapture", lambda: None)
    module = nn.Linear(2, 2)
    engine = SimpleNamespace(device=torch.device(device), precision="bf16", module=module)
    said = use_graphs(parse(["--recipe", str(DEMO), *options]), engine, {"zero_optimization": {"stage": 1}})
    assert said.startswith(line) and bool(said) == bool(line)
    assert ("forward" in vars(module)) == ("launched" in line)
