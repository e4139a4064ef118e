"""The model card of an exported model."""

import json
from collections.abc import Sequence
from typing import Any

from pipeline.optim.schedule import steps_averaged
from pipeline.runlog.terms import terms_of


def model_card(name: str, state: dict[str, Any], averaged: bool = False, new: Sequence[str] = ()) -> str:
    """Return the README.md of an exported model: its configuration, its training, its held-out figures and its use.

    Args:
        name: name of the model, for the title and the examples.
        state: content of the checkpoint's state.json.
        averaged: whether the model has the averaged weights.
        new: names of parameters that were drawn for the export.
    """
    heldout = state["metrics"].get("averaged" if averaged else "heldout", {})
    keys = [f"{term.name}_{figure}" for term in terms_of([state]) for figure in ("loss", "accuracy")]
    rows = "\n".join(f"| {key.replace('_', ' ')} | {heldout[key]:.4f} |" for key in keys if key in heldout)
    return f"""---
library_name: transformers
tags: [{state["family"]}, fill-mask]
---
# {name}

{state["family"]} with {json.dumps(state["model"])} and a vocabulary of {state["vocab_size"]:,} words, trained for
{state["step"]:,} steps on {state["consumed_samples"]:,} samples{trained_with(state)}.{averaged_over(state, averaged)}
{untrained(new)}
| held out | |
|---|---|
{rows or "| (not evaluated) | |"}

```python
from transformers import AutoModelForMaskedLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = AutoModelForMaskedLM.from_pretrained("{name}")
```

The recipe that trained it:

```json
{json.dumps(state.get("recipe", {}), indent=2)}
```
"""


def trained_with(state: dict[str, Any]) -> str:
    """Return precision and optimizer in brackets; empty for an imported checkpoint, which does not state them."""
    optimizer = state.get("recipe", {}).get("optimizer", {})
    name = {"lamb": "LAMB", "adamw": "AdamW", "muon": "Muon"}.get(str(optimizer.get("name")), optimizer.get("name"))
    said = [str(value) for value in (state.get("precision"), name) if value]
    return f" ({', '.join(said)})" if said else ""


def untrained(new: Sequence[str]) -> str:
    """Return a sentence about parameters that were drawn for the export; empty if there are none."""
    if not new:
        return ""
    return f"The parameters {', '.join(new)} are new and untrained; fine-tune the model before it is used.\n"


def averaged_over(state: dict[str, Any], averaged: bool) -> str:
    """Return a sentence about averaged weights, on a line of its own; empty for a model with the last weights."""
    if not averaged:
        return ""
    schedule = state["recipe"]["schedule"]
    steps = steps_averaged(state["step"], schedule["total_steps"], schedule["average_last"])
    return f"\nThe weights are the average over the last {steps:,} steps."
