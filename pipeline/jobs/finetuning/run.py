"""A fine-tuning from its recipe to the fine-tuned model.

RUN/recipe.toml, metrics.jsonl, events.jsonl, tensorboard/, logs/    as in pre-training
RUN/checkpoints/                                                     the newest one and that of the best epoch
RUN/model/                                                           the model of the best epoch, for transformers
RUN/predictions/                                                     predictions for test splits without labels
RUN/results.json                                                     metrics; written last
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.record import name_of
from pipeline.conversion import task_models
from pipeline.jobs.finetuning.card import finetuned_card
from pipeline.jobs.finetuning.inputs import Inputs, checksum, open_inputs
from pipeline.jobs.finetuning.loop import Loop, build_optimizer, steps_per_epoch
from pipeline.jobs.finetuning.recipe import FinetuningRecipe, defaults, plain, to_toml
from pipeline.jobs.finetuning.state import Identity, restore, save
from pipeline.jobs.identity import differences
from pipeline.jobs.inference import default_device
from pipeline.jobs.recording import recorded_end
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.runlog.events import Events
from pipeline.runlog.metrics import Writer
from pipeline.runlog.reader import RECIPE
from pipeline.runtime.logs import close_log, open_log
from pipeline.runtime.options import read_toml
from pipeline.runtime.progress import Progress
from pipeline.runtime.signals import StopSignals
from pipeline.tasks.encoding import batch_of
from pipeline.tasks.splits import DEV, TRAIN
from preprocessing.files import is_temporary, read_json, sole_run, write_json, write_text

RESULTS, MODEL, PREDICTIONS = "results.json", "model", "predictions"
COMPARED = 8
"""Number of dev examples on which the export is compared with `transformers`."""


def finetune(recipe: FinetuningRecipe, signals: StopSignals) -> dict[str, Any]:
    """Fine-tune a model, or continue an interrupted run.

    Returns:
        The results: task, metric, best epoch, and metrics by split.

    Raises:
        ValueError, OSError: model, data or the run's directory cannot be used.
        FloatingPointError: training diverged.
        InterruptedRunError: a stop signal was received; the run resumes when restarted.
    """
    run = recipe.run
    if run.exists() and not run.is_dir():
        raise ValueError(f"out = {run}: is a file; name a directory")
    with sole_run(run):
        open_run(recipe)
        if (run / RESULTS).is_file():
            print(f"{run} has finished; its model is {run / MODEL}")
            return read_json(run / RESULTS)
        inputs = open_inputs(recipe)
        write_text(run / RECIPE, to_toml(recipe))
        with logged(run) as events:
            return train(recipe, inputs, events, signals)


def open_run(recipe: FinetuningRecipe) -> None:
    """Check that the run's directory is new, or belongs to the recipe.

    Raises:
        ValueError: it holds something else, or a run with another recipe; the message names the fields.
    """
    run = recipe.run
    if (run / RECIPE).is_file():
        changed = differences(read_toml(run / RECIPE), plain(recipe), defaults(), recipe.may_change)
        if changed:
            raise ValueError(f"{run} is a run with another recipe ({'; '.join(changed)}); choose another out")
    elif not all(map(is_temporary, run.iterdir())):
        raise ValueError(f"out = {run} exists and is not a run (no {RECIPE}); choose another directory or remove it")


@contextmanager
def logged(run: Path) -> Iterator[Events]:
    """Open log and events of a run, and record how it ends."""
    log, events = open_log(run), Events(run, 0, step=0)
    try:
        with recorded_end(events):
            yield events
            events.write("finished")
            events.beat("finished")
    finally:
        events.close()
        close_log(log)


def train(recipe: FinetuningRecipe, inputs: Inputs, events: Events, signals: StopSignals) -> dict[str, Any]:
    """Train, then write model, predictions and results; returns the results."""
    run, begun = recipe.run, inputs.begun
    model = begun.model.to(default_device())
    model.encoder.requires_grad_(not recipe.training.frozen_encoder)
    optimizer = build_optimizer(model, inputs.family.parameters, recipe)
    samples = checksum(inputs.task)
    state = restore(run, optimizer.shards, samples)
    identity = Identity(inputs.family.name, asdict(begun.config), begun.vocab_size, samples, plain(recipe))
    size = len(inputs.task.splits[TRAIN])
    total = recipe.training.epochs * steps_per_epoch(size, recipe.training.batch_size)
    progress = Progress(total, state.step, run.name, enabled=True)
    writer = Writer(run, recipe.logging, state.step, state.step)
    keep = partial(save, run, optimizer.shards, identity=identity, tokenizer=Path(recipe.model))
    loop = Loop(
        recipe,
        inputs.task,
        inputs.sequences,
        model,
        optimizer,
        state,
        save=keep,
        writer=writer,
        progress=progress,
        signals=signals,
    )
    events.total_steps, events.step = total, state.step
    metrics = list(inputs.task.metrics)
    events.write("start", terms=[asdict(inputs.task.term)], metrics=metrics, device=str(loop.device))
    progress.say(announcement(recipe, inputs, state.step))
    try:
        loop.train()
        return finish(loop, inputs, optimizer)
    finally:
        events.step = loop.state.step
        writer.close()
        progress.close()


def announcement(recipe: FinetuningRecipe, inputs: Inputs, step: int) -> str:
    """Return what begins: model, examples, and the parameters that are drawn anew."""
    sizes = ", ".join(f"{len(encoded):,} {split}" for split, encoded in inputs.task.splits.items())
    left = inputs.begun.left_out
    begins = f"resumes at step {step}" if step else f"new parameters: {', '.join(inputs.begun.new)}"
    first = f"{recipe.task}: {recipe.model} ({inputs.head.model_class}), examples: {sizes}; {begins}"
    rows = f"{left:,} rows of the embeddings behind the tokenizer's last token are left out"
    return "\n".join((first, *([rows] if left else []), *inputs.task.notes))


def finish(loop: Loop, inputs: Inputs, optimizer: ShardedOptimizer) -> dict[str, Any]:
    """Write the model of the best epoch, the predictions and the results.

    Raises:
        ValueError: `transformers` computes other logits with the model that was written.
    """
    recipe, task = loop.recipe, inputs.task
    best = recipe.run / "checkpoints" / name_of(loop.state.best_step)
    checkpoint.verify(best)
    checkpoint.load_shards(best, optimizer.shards, moments=False)
    results = {DEV: loop.state.metrics["best"], **{split: loop.measure(split) for split in task.measured}}
    epoch = loop.state.best_step // loop.steps_per_epoch
    difference = export(loop, inputs, finetuned_card(recipe, task, inputs.head.model_class, epoch, results))
    loop.progress.say(f"{recipe.run / MODEL}: logits equal those of transformers to {difference:.1e}")
    for split in task.predicted:
        loop.progress.say(f"predictions for {split}: {predict_split(loop, split)}")
    values = {"task": recipe.task, "metric": task.metrics[0], "epoch": epoch, "results": results}
    write_json(recipe.run / RESULTS, values)
    return values


def export(loop: Loop, inputs: Inputs, card: str) -> float:
    """Write RUN/model and compare it with `transformers`; returns the largest difference of the logits."""
    out, task, model = loop.recipe.run / MODEL, inputs.task, loop.model
    shutil.rmtree(out, ignore_errors=True)  # of an earlier end of this run that was interrupted
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    fields = task.config_fields(loop.state.metrics["best"])
    task_models.write(
        inputs.family, inputs.head, weights, inputs.begun.config, fields, Path(loop.recipe.model), out, card
    )
    rows = np.arange(min(COMPARED, len(task.splits[DEV])))
    batch = batch_of(task.splits[DEV], rows, {}, inputs.sequences)
    with torch.inference_mode():
        logits = model.cpu().eval()(batch)
    model.to(loop.device)
    return task_models.verify(out, inputs.head, batch, logits)


def predict_split(loop: Loop, split: str) -> Path:
    """Write the predictions for a split, and return the file."""
    directory = loop.recipe.run / PREDICTIONS
    directory.mkdir(exist_ok=True)
    return loop.task.write_predictions(split, loop.logits(split), directory)
