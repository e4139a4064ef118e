"""The model card of a fine-tuned model."""

import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.jobs.finetuning.recipe import FinetuningRecipe, plain
from pipeline.tasks.base import Task
from pipeline.tasks.splits import TRAIN

PIPELINE = "text-classification"
"""Name of the pipeline of `transformers` that runs the model."""


def finetuned_card(
    recipe: FinetuningRecipe, task: Task, model_class: str, epoch: int, results: Mapping[str, Mapping[str, float]]
) -> str:
    """Return the README.md of a fine-tuned model: its results, its use, and its recipe.

    Args:
        recipe: the recipe.
        task: the task.
        model_class: name of the class in `transformers`.
        epoch: epoch of the weights.
        results: split -> metrics.
    """
    base = Path(recipe.model).name
    rows = "\n".join(
        f"| {split} | {name} | {value:.4f} |" for split in results for name, value in results[split].items()
    )
    classes = f" Its classes are {', '.join(task.labels)}." if task.labels else ""
    return f"""---
library_name: transformers
pipeline_tag: {PIPELINE}
base_model: {base}
metrics: [{", ".join(task.metrics)}]
---
# {recipe.run.name}

{base}, fine-tuned on {recipe.task} with {len(task.splits[TRAIN]):,} training examples; the weights are those of epoch
{epoch}, the best one on the dev split.{classes}

| split | metric | value |
|---|---|---|
{rows}

```python
from transformers import pipeline

predict = pipeline("{PIPELINE}", model="{recipe.run.name}")  # a {model_class}
```

The recipe of the fine-tuning:

```json
{json.dumps(plain(recipe), indent=2)}
```
"""
