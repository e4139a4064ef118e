"""The model card of an exported model."""

import json
from typing import Any

from pipeline.families import get_family
from pipeline.families.base import Family
from pipeline.optim.schedule import steps_averaged
from pipeline.runlog.terms import terms_of


def model_card(name: str, state: dict[str, Any], averaged: bool = False, form: Family[Any] | None = None) -> str:
    """Return the README.md of an exported model: its configuration, its training, its held-out figures and its use.

    Args:
        name: name of the model, for the title and the examples.
        state: content of the checkpoint's state.json.
        averaged: whether the model has the averaged weights.
        form: the variant of its family that was trained; None: the family has none, or none that differs in its parts.
    """
    form = get_family(state["family"]) if form is None else form
    heldout = state["metrics"].get("averaged" if averaged else "heldout", {})
    keys = [f"{term.name}_{figure}" for term in terms_of([state]) for figure in ("loss", "accuracy")]
    rows = "\n".join(f"| {key.replace('_', ' ')} | {heldout[key]:.4f} |" for key in keys if key in heldout)
    return f"""---
library_name: transformers
tags: [{state["family"]}, {"pretraining" if form.parts else "fill-mask"}]
---
# {name}

{state["family"]} with {json.dumps(state["model"])} and a vocabulary of {state["vocab_size"]:,} words, trained for
{state["step"]:,} steps on {state["consumed_samples"]:,} samples{trained_with(state)}.{averaged_over(state, averaged)}

| held out | |
|---|---|
{rows or "| (not evaluated) | |"}

```python
{loading(name, form)}
```

The recipe that trained it:

```json
{json.dumps(state.get("recipe", {}), indent=2)}
```
"""


def loading(name: str, form: Family[Any]) -> str:
    """Return Python code that loads an exported model with its tokenizer, and its further parts."""
    further = [part.directory for part in form.parts[1:]]
    is_encoder = form.export.model_class.endswith("Model")  # a class without a head
    auto_class = "AutoModel" if is_encoder else "AutoModelForPreTraining" if further else "AutoModelForMaskedLM"
    classes = [auto_class, *(["AutoModelForMaskedLM"] if further else []), "AutoTokenizer"]
    lines = [
        f"from transformers import {', '.join(sorted(classes))}",
        "",
        f'tokenizer = AutoTokenizer.from_pretrained("{name}")',
        f'model = {auto_class}.from_pretrained("{name}")',
    ]
    lines += [f'{part} = AutoModelForMaskedLM.from_pretrained("{name}", subfolder="{part}")' for part in further]
    return "\n".join(lines)


def trained_with(state: dict[str, Any]) -> str:
    """Return precision and optimizer in brackets; empty for an imported checkpoint, which does not state them."""
    optimizer = state.get("recipe", {}).get("optimizer", {})
    name = {"lamb": "LAMB", "adamw": "AdamW", "muon": "Muon"}.get(str(optimizer.get("name")), optimizer.get("name"))
    said = [str(value) for value in (state.get("precision"), name) if value]
    return f" ({', '.join(said)})" if said else ""


def averaged_over(state: dict[str, Any], averaged: bool) -> str:
    """Return a sentence about averaged weights, on a line of its own; empty for a model with the last weights."""
    if not averaged:
        return ""
    schedule = state["recipe"]["schedule"]
    steps = steps_averaged(state["step"], schedule["total_steps"], schedule["average_last"])
    return f"\nThe weights are the average over the last {steps:,} steps."
