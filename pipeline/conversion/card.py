"""The model card of an exported model: the metadata that hubs read, and text about training, data and use.

A card states what the checkpoint, its run and the manifest of its samples record, and what the publisher has given; it
says where something is not recorded. Source of the metadata: https://huggingface.co/docs/hub/model-cards.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.record import step_in
from pipeline.conversion.card_sections import Figure, data_section, evaluation_section, heldout_of, training_section
from pipeline.conversion.exported import Exported, modules_of
from pipeline.conversion.forms import FORMS
from pipeline.conversion.provenance import Provenance
from pipeline.families import get_family
from pipeline.families.base import Family, Part
from pipeline.runlog.terms import Term


def model_card(name: str, exported: Exported, provenance: Provenance) -> str:
    """Return the README.md of an exported model.

    Args:
        name: name of the model, for the title and the examples.
        exported: the model.
        provenance: its training.
    """
    averaged, licence = exported.options.averaged, exported.options.publication.license
    fields = metadata(name, exported, provenance)
    return f"""{front_matter(fields)}
# {name}

{description(exported, provenance)}

## Use
{use(name, exported, provenance)}

## Training
{training_section(provenance, averaged)}

## Training data
{data_section(provenance)}

## Evaluation
{evaluation_section(provenance, averaged)}

## Limits
{limits(provenance, languages(exported, provenance))}

## Licence
{f"The publisher states the licence {licence}." if licence else "No licence is stated."}

## Reproduction
{reproduction(provenance)}
"""


def front_matter(fields: Mapping[str, Any]) -> str:
    """Return the metadata of a card as the YAML at its beginning; empty values are left out."""
    # Values in JSON are YAML as well.
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items() if value]
    return "\n".join(("---", *lines, "---"))


def metadata(name: str, exported: Exported, provenance: Provenance) -> dict[str, Any]:
    """Return the metadata of the card; what is not known is empty."""
    tag, publication = exported.form.pipeline_tag, exported.options.publication
    figures = figures_of(exported, provenance)
    return {
        "language": languages(exported, provenance),
        "license": publication.license,
        "library_name": "transformers",
        "pipeline_tag": tag,
        "tags": [provenance.state["family"], "pretraining" if exported.further else tag],
        "datasets": list(publication.datasets),
        "base_model": base_model(provenance.recipe.get("init_from")),
        "metrics": list(dict.fromkeys(figure.kind for figure in figures)),
        "model-index": model_index(name, tag, figures),
    }


def languages(exported: Exported, provenance: Provenance) -> list[str]:
    """Return the languages that the publisher states, or else that of the samples; empty if neither is known."""
    recorded = provenance.options("extract").get("language")
    return list(exported.options.publication.language) or ([recorded] if recorded else [])


def base_model(init_from: str | None) -> str:
    """Return the name of the model that a training began with; empty if it began with random weights."""
    path = Path(init_from or "")
    return path.parent.parent.name if step_in(path.name) is not None else path.name


def figures_of(exported: Exported, provenance: Provenance) -> list[Figure]:
    """Return the held-out figures of the heads of pre-training that are written; empty if there are none."""
    form, terms = exported.options.form, provenance.terms
    if form not in ("pretraining", "masked_lm"):
        return []
    chosen = [term for term in terms if form == "pretraining" or term.per == "masked"]
    return heldout_of(provenance, chosen, exported.options.averaged)


def model_index(name: str, tag: str, figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """Return held-out figures in the form of the hub; empty if there are none."""
    metrics = [
        {"type": figure.kind, "name": f"{figure.title} {figure.kind}", "value": round(figure.value, 4)}
        for figure in figures
    ]
    task = {"type": tag, "name": "masked language modelling" if tag == "fill-mask" else "pre-training"}
    dataset = {"type": "heldout", "name": "held-out samples of the training corpus"}
    return [{"name": name, "results": [{"task": task, "dataset": dataset, "metrics": metrics}]}] if metrics else []


def description(exported: Exported, provenance: Provenance) -> str:
    """Return a paragraph about the model."""
    state, model = provenance.state, exported.fields
    alone = part_alone(exported, provenance)
    titles = objectives(alone.family.terms if alone else provenance.terms)
    trained = (
        f"It was pre-trained by {titles} for {state['step']:,} steps on {state['consumed_samples']:,} samples."
        if state["step"]
        else "Its checkpoint was imported and does not record how it was trained."
    )
    trained += "".join(f" Its {name} was {model}." for name, model in models_named(provenance).items())
    whole = "parts and heads" if form_of(provenance).parts else "heads"
    return (
        f"This is a model of the family {state['family']} with {model['num_hidden_layers']} layers, "
        f"{model['hidden_size']} hidden units, {model['num_attention_heads']} attention heads and a vocabulary of "
        f"{state['vocab_size']:,} tokens. {trained} With all {whole} of pre-training it has "
        f"{provenance.parameters / 1e6:,.1f} million parameters. The class of the model is `{exported.model_class}`, "
        f"and the type of its weights {exported.options.dtype}."
    )


def models_named(provenance: Provenance) -> dict[str, str]:
    """Return the names of the models that the family's configuration names, such as a teacher, by field."""
    named = {name: provenance.recipe.get(f"model.{name}") for name in form_of(provenance).files}
    return {name: base_model(str(path)) for name, path in named.items() if path}


def form_of(provenance: Provenance) -> Family[Any]:
    """Return the form of the family that was trained."""
    family = get_family(provenance.state["family"])
    return family.of(checkpoint.model_config(Path(), family.config, dict(provenance.state)))


def part_alone(exported: Exported, provenance: Provenance) -> Part[Any] | None:
    """Return the part of the family that was written alone and lacks the encoder; None if there is none."""
    parts = form_of(provenance).parts[1:]
    return next((part for part in parts if part.family.export.model_class == exported.model_class), None)


def objectives(terms: Sequence[Term]) -> str:
    """Return the objectives of some terms of the loss."""
    return listed([f"{term.title} prediction" for term in terms])


def listed(texts: Sequence[str]) -> str:
    """Return an enumeration: "a", "a and b", "a, b and c"."""
    return " and ".join(part for part in (", ".join(texts[:-1]), *texts[-1:]) if part)


def use(name: str, exported: Exported, provenance: Provenance) -> str:
    """Return what the model is for, with an example."""
    same = ", ".join(f"{output} to {value:.0e}" for output, value in exported.all_differences.items())
    return f"""{" ".join(purposes(exported, provenance))}

```python
{loading(name, exported)}
```

On random tokens and on text, `transformers` computes the same as the training code: {same}, relative to the largest
value where it is above 1.{rounded(exported)}"""


def purposes(exported: Exported, provenance: Provenance) -> Iterator[str]:
    """Yield the sentences about what the model is for."""
    parts = form_of(provenance).parts
    if part_alone(exported, provenance):
        yield (
            f"The model was trained beside one of the class `{parts[0].family.export.model_class}`, which is the one "
            "for fine-tuning."
        )
    else:
        yield (
            "The model is a starting point for fine-tuning on tasks that read whole texts, such as classification of "
            "texts or tokens, and extraction of answers."
        )
    if exported.form.pipeline_tag == "fill-mask":
        yield "Without fine-tuning it predicts masked tokens; it does not generate text."
    if exported.further:
        yield f"It was trained by {objectives(parts[0].family.terms)}."
        for part in parts[1:]:
            yield (
                f"The directory `{part.directory}` has the model of the class `{part.family.export.model_class}` that "
                f"was trained beside it, by {objectives(part.family.terms)}."
            )
    if exported.all_unread:
        yield (
            f"The files also hold {', '.join(modules_of(exported.all_unread))}, which `transformers` ignores and an "
            "import into the training code reads."
        )
    if exported.left_out:
        yield (
            f"Of the checkpoint, {listed(modules_of(exported.left_out))} are left out, which the class "
            f"`{exported.model_class}` does not have."
        )
    if exported.new:
        yield (
            f"The parameters {', '.join(exported.new)} are new and untrained (seed {exported.options.seed}), so that "
            "the model must be fine-tuned before they are used."
        )


def loading(name: str, exported: Exported) -> str:
    """Return Python code that loads a model with its tokenizer, and its further parts as masked language models."""
    auto, of_parts = exported.form.auto_class, FORMS["masked_lm"].auto_class
    classes = {auto, "AutoTokenizer", *(of_parts for _ in exported.further)}
    lines = [
        f"from transformers import {', '.join(sorted(classes))}",
        "",
        f'tokenizer = AutoTokenizer.from_pretrained("{name}")',
        f'model = {auto}.from_pretrained("{name}")',
    ]
    lines += [f'{part} = {of_parts}.from_pretrained("{name}", subfolder="{part}")' for part in exported.further]
    return "\n".join(lines)


def rounded(exported: Exported) -> str:
    """Return a sentence about the rounding of the weights; empty in fp32."""
    changes = ", ".join(f"the {output} by {value:.0e}" for output, value in exported.all_rounding.items())
    return f" Rounding the weights to {exported.options.dtype} changed {changes}." if changes else ""


def limits(provenance: Provenance, languages: Sequence[str]) -> str:
    """Return what the model cannot do, and what is not known of it."""
    first = get_family(provenance.state["family"]).template.first_position
    longest = provenance.state["model"]["max_position_embeddings"] - first
    spoken = f" in the language {' or '.join(languages)}" if languages else ""
    return (
        f"- The model reads at most {longest:,} tokens, special tokens included.\n"
        f"- It was trained on text{spoken}; nothing is known of its use for other text.\n"
        "- It may repeat errors and prejudices of its training text. They were not measured.\n"
        "- The figures above are those of pre-training; this card has no results on other tasks."
    )


def reproduction(provenance: Provenance) -> str:
    """Return how to train the model again."""
    state = provenance.state
    if not provenance.recipe:
        return "The checkpoint has no recipe."
    models = models_named(provenance)
    paths = listed([f"`{name}`" for name in ("data", "init_from", *(f"model.{name}" for name in models))])
    number = state.get("world_size", "an unrecorded number of")
    processes = "1 process" if number == 1 else f"{number} processes"
    return f"""Save this recipe as `recipe.toml`, with your own paths in {paths}
where they are set, and run `python -m pipeline.pretrain --recipe recipe.toml --run_dir RUN`. The training samples are
identified by the SHA-256 `{state.get("samples", "not recorded")}` of their manifest. The run had
{processes}; another number changes the result by rounding only.

```toml
{recipe_toml(state["recipe"], models)}
```"""


def recipe_toml(recipe: Mapping[str, Any], models: Mapping[str, str]) -> str:
    """Return a recipe as TOML without its run_dir, and with the last part of each path alone.

    Args:
        recipe: sections and fields.
        models: names of the models that fields of the section `model` name.
    """
    chosen = {name: value for name, value in recipe.items() if name != "run_dir"}
    data = chosen.get("data", {})
    chosen["data"] = data | {
        name: [Path(one).name for one in data[name]] if isinstance(data[name], list) else Path(data[name]).name
        for name in ("samples", "earlier_samples")
        if name in data
    }
    if models:
        chosen["model"] = chosen["model"] | models
    if chosen.get("init_from"):
        chosen["init_from"] = base_model(chosen["init_from"])
    lines = [_assignment(name, value) for name, value in chosen.items() if not isinstance(value, Mapping)]
    for section, values in chosen.items():
        if isinstance(values, Mapping):
            lines += ["", f"[{section}]", *(_assignment(name, value) for name, value in values.items())]
    return "\n".join(line for line in lines if line is not None)


def _assignment(name: str, value: Any) -> str | None:
    """Return a line of TOML, in which strings, numbers and lists are written as in JSON; TOML has no null."""
    return None if value is None else f"{name} = {json.dumps(value, ensure_ascii=False)}"
