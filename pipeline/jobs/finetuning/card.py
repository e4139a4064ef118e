"""The model card of a fine-tuned model."""

import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.jobs.finetuning.recipe import FinetuningRecipe, plain
from pipeline.tasks.base import Task
from pipeline.tasks.splits import TRAIN

PIPELINES = ("text-classification", "token-classification")
"""Names of the pipelines of `transformers` that run a fine-tuned model."""


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
    tag, name = task.pipeline_tag, recipe.run.name
    use = f"""\
from transformers import {"pipeline" if tag in PIPELINES else model_class}

""" + (
        f'predict = pipeline("{tag}", model="{name}")  # a {model_class}'
        if tag in PIPELINES
        else f'model = {model_class}.from_pretrained("{name}")'
    )
    return f"""---
library_name: transformers
pipeline_tag: {tag}
base_model: {base}
metrics: [{", ".join(task.metrics)}]
---
# {name}

{base}, fine-tuned on {recipe.task} with {len(task.splits[TRAIN]):,} training examples; the weights are those of epoch
{epoch}, the best one on the dev split.{classes}

| split | metric | value |
|---|---|---|
{rows}

```python
{use}
```

The recipe of the fine-tuning:

```json
{json.dumps(plain(recipe), indent=2)}
```
"""
