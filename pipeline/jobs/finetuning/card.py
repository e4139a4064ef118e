"""The model card of a fine-tuned model."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.conversion.card import front_matter
from pipeline.jobs.finetuning.recipe import FinetuningRecipe, plain
from pipeline.tasks.base import Task
from pipeline.tasks.glue import GLUE
from pipeline.tasks.splits import DEV, TRAIN

PIPELINES = ("text-classification", "token-classification")
"""Names of the pipelines of `transformers` that run a fine-tuned model."""
GLUE_DATASET = "nyu-mll/glue"
"""Identifier of GLUE on the hub."""
HUB_METRICS = {
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "f1_macro": "f1",
    "mean_squared_error": "mse",
    "exact": "exact_match",
    "has_answer_f1": "f1",
    "no_answer_f1": "f1",
}
"""Name of a metric -> its identifier on the hub, where it is another one."""

Results = Mapping[str, Mapping[str, float]]
"""Split -> metrics."""


def finetuned_card(recipe: FinetuningRecipe, task: Task, model_class: str, epoch: int, results: Results) -> str:
    """Return the README.md of a fine-tuned model: its results, its use, its limits, and its recipe.

    Args:
        recipe: the recipe.
        task: the task.
        model_class: name of the class in `transformers`.
        epoch: epoch of the weights.
        results: metrics of the splits with labels.
    """
    rows = "\n".join(
        f"| {split} | {name} | {value:.4f} |" for split in results for name, value in results[split].items()
    )
    classes = f" Its classes are {', '.join(task.labels)}." if task.labels else ""
    base, name, licence = Path(recipe.model).name, recipe.run.name, recipe.publication.license
    return f"""{front_matter(metadata(recipe, task, results))}
# {name}

{base}, fine-tuned on {recipe.task} with {len(task.splits[TRAIN]):,} training examples; the weights are those of epoch
{epoch}, the best one on the dev split.{classes}

| split | metric | value |
|---|---|---|
{rows}

```python
{use(name, task.pipeline_tag, model_class)}
```

## Limits
{limits(recipe, task)}

## Licence
{f"The publisher states the licence {licence}." if licence else "No licence is stated."}

## Recipe
```json
{json.dumps(plain(recipe), indent=2)}
```
"""


def metadata(recipe: FinetuningRecipe, task: Task, results: Results) -> dict[str, Any]:
    """Return the metadata that hubs read; what is not known is empty."""
    stated = recipe.publication
    return {
        "language": list(stated.language),
        "license": stated.license,
        "library_name": "transformers",
        "pipeline_tag": task.pipeline_tag,
        "tags": [recipe.task],
        "datasets": datasets(recipe),
        "base_model": Path(recipe.model).name,
        "metrics": list(dict.fromkeys(HUB_METRICS.get(name, name) for name in task.metrics)),
        "model-index": [{"name": recipe.run.name, "results": list(evaluations(recipe, task, results))}],
    }


def datasets(recipe: FinetuningRecipe) -> list[str]:
    """Return the data sets that the publisher states, or else GLUE for its tasks."""
    return list(recipe.publication.datasets) or ([GLUE_DATASET] if recipe.task in GLUE else [])


def evaluations(recipe: FinetuningRecipe, task: Task, results: Results) -> Iterator[dict[str, Any]]:
    """Yield the metrics of each split in the form of the hub; undefined ones, such as a correlation, are left out."""
    kind = datasets(recipe)[0] if datasets(recipe) else recipe.task
    for split, values in results.items():
        dataset = {"type": kind, "name": recipe.task, "split": split}
        dataset |= {"config": recipe.task} if kind == GLUE_DATASET else {}
        metrics = [
            {"type": HUB_METRICS.get(name, name), "name": name, "value": round(values[name], 4)}
            for name in task.metrics
            if math.isfinite(values[name])
        ]
        if metrics:
            yield {"task": {"type": task.pipeline_tag, "name": recipe.task}, "dataset": dataset, "metrics": metrics}


def use(name: str, tag: str, model_class: str) -> str:
    """Return Python code that loads the model."""
    if tag in PIPELINES:
        return f"""from transformers import pipeline

predict = pipeline("{tag}", model="{name}")  # a {model_class}"""
    return f"""from transformers import {model_class}

model = {model_class}.from_pretrained("{name}")"""


def limits(recipe: FinetuningRecipe, task: Task) -> str:
    """Return what the model cannot do, and what is not known of it."""
    language = recipe.publication.language
    spoken = f" in the language {' or '.join(language)}" if language else ""
    found = [
        f"It was trained on texts of at most {recipe.text.max_length:,} tokens, special tokens included, from the "
        f"source of its training examples{spoken}; nothing is known of its use for other texts.",
        f"Epoch and settings were chosen on {DEV}, so that the figures of {DEV} are somewhat too high.",
        "It may repeat errors and prejudices of its training examples and of its base model. They were not measured.",
    ]
    if task.labels:
        found.insert(1, "It gives one of its classes for every text, also for one that belongs to none of them.")
    return "\n".join(f"- {sentence}" for sentence in found)
