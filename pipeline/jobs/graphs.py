"""Use of CUDA graphs in a run, and what its log says about it."""

from collections.abc import Mapping
from typing import Any

from pipeline.config import Recipe
from pipeline.engine.engine import Engine
from pipeline.engine.graphs import Graphs, obstacle


def use_graphs(recipe: Recipe, engine: Engine, settings: Mapping[str, Any]) -> str:
    """Let the engine launch micro-batches as graphs if the recipe wants it and they can be used.

    Args:
        recipe: the recipe.
        engine: the engine, whose model's forward pass is replaced.
        settings: content of the DeepSpeed JSON.

    Returns:
        A sentence for the log; empty if the recipe does not want graphs.
    """
    if not recipe.engine.cuda_graphs:
        return ""
    layers = recipe.model.checkpointed_layers
    reason = obstacle(engine.device, settings, engine.precision, recipe.data.fixed_shapes, layers)
    if reason:
        return f"engine.cuda_graphs: not used, because {reason}"
    Graphs(engine.module).install()
    return "engine.cuda_graphs: the passes of a micro-batch are launched as CUDA graphs, one for each shape"
