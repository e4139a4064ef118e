"""A pre-training run: opens samples and run directory, builds the engine, restores a checkpoint and trains."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.saving import Saver
from pipeline.config import Recipe, plain
from pipeline.data.loader import BatchDivision
from pipeline.data.schedule import DataSchedule
from pipeline.engine.config import EngineConfig
from pipeline.engine.engine import Engine, build, read_settings, start
from pipeline.families import get_family
from pipeline.jobs.budget import Budget, measure, with_recorded_steps, with_total_steps
from pipeline.jobs.description import checkpoint_fields, start_event_fields, startup_line, warn_of_space
from pipeline.jobs.floors import record_floors
from pipeline.jobs.graphs import use_graphs
from pipeline.jobs.initial_model import build_model, completed
from pipeline.jobs.loop import loop_config, schedules
from pipeline.jobs.recording import recorded_end
from pipeline.jobs.restoring import Request, restore
from pipeline.jobs.run_directory import open_run
from pipeline.jobs.samples import (
    data_schedule,
    divide,
    heldout_batches,
    open_earlier,
    open_samples,
    order_gap_batches,
    samples_id,
    training_batches,
)
from pipeline.runlog.event_text import budget_text
from pipeline.runlog.events import Events
from pipeline.runlog.metrics import Writer
from pipeline.runlog.reader import EVENTS, METRICS
from pipeline.runlog.schedules import write_schedules
from pipeline.runtime import distributed, faults
from pipeline.runtime.command import USER_ERRORS
from pipeline.runtime.logs import close_log, open_log
from pipeline.runtime.progress import Progress
from pipeline.runtime.signals import StopSignals
from pipeline.runtime.watchdog import Watchdog
from pipeline.training.skipped import SkippedSteps
from pipeline.training.state import TrainState
from pipeline.training.supervision import Supervisor, leave_if_asked
from pipeline.training.trainer import Trainer
from preprocessing.files import sole_run
from preprocessing.shards import SampleDataset


def join(recipe: Recipe | None, error: Exception | None) -> torch.device:
    """Join the other ranks and return this process's device. All ranks raise the error of any rank together.

    If a rank ended alone, its launcher would kill the others before they printed a message. Checks that need no other
    rank are therefore made first, and their errors raised after joining.

    Args:
        recipe: the recipe, or None if this rank could not read it.
        error: the reason, in that case.

    Raises:
        Exception: the error of this rank; PeerError on the others.
    """
    if recipe is not None:
        try:
            read_settings(recipe.engine)
        except USER_ERRORS as caught:
            error = caught
    try:
        device = start(recipe.engine if recipe is not None else EngineConfig())
    except USER_ERRORS:
        if error is not None:
            raise error from None
        raise
    with distributed.together("read the recipe"):
        if error is not None:
            raise error
    return device


def pretrain(recipe: Recipe, device: torch.device, signals: StopSignals) -> None:
    """Run a pre-training; all ranks call it together.

    Raises:
        ValueError, OSError: samples, checkpoints or the run's directory cannot be used, or another process trains the
            run.
        InterruptedRunError: a rank received a stop signal.
    """
    with distributed.together("open the samples"):
        division = divide(recipe)
        settings = read_settings(recipe.engine)
        train, heldout = open_samples(recipe, signals)
        datasets = (*open_earlier(recipe, train, signals), train)
        recipe = completed(recipe, train)
        init_from = checkpoint.resolve(Path(recipe.init_from)) if recipe.init_from else None
    leave_if_asked(signals)
    with ExitStack() as stack:
        run = Path(recipe.run_dir)
        opened = recipe
        with distributed.together("open the run"):
            if distributed.is_main():
                opened = stack.enter_context(claimed(recipe))
        recipe = with_total_steps(recipe, distributed.gather_objects(opened.schedule.total_steps)[0])
        job = Job(recipe, run, device, division, settings, datasets, heldout, init_from)
        run_logged(job, signals)


@contextmanager
def claimed(recipe: Recipe) -> Iterator[Recipe]:
    """Lock the run's directory, remove unfinished checkpoints of a killed run, and give the recipe with its steps."""
    with sole_run(Path(recipe.run_dir)):
        recipe = with_recorded_steps(recipe)
        run = open_run(recipe)
        checkpoint.sweep(run)
        yield recipe


@dataclass(frozen=True)
class Job:
    """The validated inputs of a run."""

    recipe: Recipe
    run: Path
    device: torch.device
    division: BatchDivision
    settings: dict[str, Any]
    datasets: tuple[SampleDataset, ...]
    heldout: SampleDataset
    init_from: Path | None

    @cached_property
    def schedule(self) -> DataSchedule:
        """Batch size and samples of each step."""
        return data_schedule(self.recipe, [dataset.manifest for dataset in self.datasets])

    @property
    def train(self) -> SampleDataset:
        """The training split that the run ends with."""
        return self.datasets[-1]

    @property
    def samples_id(self) -> str:
        """Checksum that identifies all training samples."""
        return samples_id(self.train, self.datasets[:-1])


def run_logged(job: Job, signals: StopSignals) -> None:
    """Train with a log, a watchdog and events, in which the end of the run and its cause are recorded."""
    with distributed.together("begin to log"):
        log = open_log(job.run)
        events = Events(job.run, job.recipe.schedule.total_steps, step=0)
    watchdog = Watchdog(job.recipe.engine.timeout_minutes, log)
    watchdog.start()
    try:
        with recorded_end(events):
            if train(job, Supervisor(signals, watchdog, events)):
                events.write("finished")
            events.beat("finished")
    finally:
        watchdog.stop()
        events.close()
        close_log(log)


def train(job: Job, supervisor: Supervisor) -> bool:
    """Build the engine, restore the newest checkpoint and train; returns False if the run had finished before."""
    recipe, run, events = job.recipe, job.run, supervisor.events
    supervisor.beat("starting")
    faults.reach("starting")
    engine = build_engine(job)
    graphs = use_graphs(recipe, engine, job.settings)
    supervisor.leave_if_asked()
    job, budget = with_measured_steps(job, engine, supervisor)
    recipe = job.recipe
    family = get_family(recipe.family).of(recipe.model)
    request = Request(run, plain(recipe), job.init_from, job.train, job.samples_id, family.terms, job.schedule.consumed)
    restored = restore(request, engine, events)
    names = [field.name for field in fields(TrainState) if field.name in restored.state]
    state = TrainState(**{name: restored.state[name] for name in names})
    supervisor.beat("starting")
    supervisor.leave_if_asked()
    events.step = state.step
    progress = Progress(recipe.schedule.total_steps, state.step, run.name, distributed.is_main())
    if distributed.gather_objects(has_finished(recipe, state) and events.last_kind == "finished")[0]:
        progress.say(f"{run} has finished: all {state.step} steps are done; nothing to do")
        progress.close()
        return False
    terms = [asdict(term) for term in family.terms]
    known = {"terms": terms, "sequence_lengths": job.schedule.lengths}  # reports need no torch and no samples
    events.write("start", **start_event_fields(engine, restored.source), **known, **events.reached)
    if budget is not None:
        events.write("budget", **asdict(budget))
    announce(job, engine, state, restored.source, budget, progress)
    if graphs:
        progress.say(graphs)
    writer = open_metrics(job, engine, state, events, progress)
    batches = training_batches(recipe, job.division, job.schedule, job.datasets, state, job.device)
    fields_of_checkpoint = partial(checkpoint_fields, recipe, job.train.manifest.vocab_size, job.samples_id, engine)
    trainer = Trainer(
        engine,
        loop_config(recipe, job.division, job.schedule, job.train.manifest.vocab_size, engine),
        state,
        batches=batches,
        heldout=partial(heldout_batches, recipe, job.division, job.heldout),
        order_gap=order_gap_batches(recipe, job.division, job.heldout),
        writer=writer,
        progress=progress,
        saver=Saver(run, engine.shards, job.train.tokenizer_dir, recipe.checkpoint, fields_of_checkpoint, events),
        supervisor=supervisor,
        skipped_steps=SkippedSteps(run, recipe.engine.max_skipped_steps, events),
    )
    trainer.latest |= restored.state.get("metrics", {})
    try:
        trainer.train()
    finally:
        batches.close()
        writer.close()
        progress.close()
    return True


def open_metrics(job: Job, engine: Engine, state: TrainState, events: Events, progress: Progress) -> Writer:
    """Open the run's metrics, and record its floors and schedules; all ranks call it together."""
    recipe, run = job.recipe, job.run
    if recipe.evaluation.every:
        with distributed.together("compute the floors"):
            if distributed.is_main():
                record_floors(run, recipe, job.train, job.heldout, events)
    with distributed.together("open the metrics"):
        writer = Writer(run, recipe.logging, state.step, state.evaluated_step, engine.deepspeed.monitor)
        if distributed.is_main():
            write_schedules(run, recipe.schedule.total_steps, schedules(recipe, job.schedule))
    for name, damaged in ((METRICS, writer.damaged_lines), (EVENTS, events.damaged_lines)):
        if damaged:
            progress.say(f"warning: {run / name}: {damaged} lines cannot be read and are left out")
    return writer


def with_measured_steps(job: Job, engine: Engine, supervisor: Supervisor) -> tuple[Job, Budget | None]:
    """Return the job with its number of steps, and the budget if that number had to be measured."""
    if job.recipe.schedule.total_steps:
        return job, None
    budget = measure(job.recipe, job.division, job.datasets, job.heldout, engine, supervisor)
    supervisor.events.total_steps = budget.total_steps
    return replace(job, recipe=with_total_steps(job.recipe, budget.total_steps)), budget


def announce(
    job: Job, engine: Engine, state: TrainState, source: Path | None, budget: Budget | None, progress: Progress
) -> None:
    """Show what begins, and warnings about it, in the terminal."""
    progress.say(startup_line(job.recipe, engine, job.division, state, source))
    if budget is not None:
        progress.say(budget_text(asdict(budget)))
    warn_of_space(job.run, job.recipe, engine, progress)
    if warning := job.recipe.masking.warning(max(job.schedule.lengths)):
        progress.say(f"warning: {warning}")


def has_finished(recipe: Recipe, state: TrainState) -> bool:
    """Return whether the last step is done and, if the recipe has evaluations, evaluated."""
    evaluated = not recipe.evaluation.every or state.evaluated_step == state.step
    return state.step == recipe.schedule.total_steps and evaluated


def build_engine(job: Job) -> Engine:
    """Build the model with its initial weights, and the engine around it."""
    recipe, division = job.recipe, job.division
    return build(
        build_model(recipe, job.train),
        get_family(recipe.family).parameters,
        recipe.optimizer,
        job.settings,
        device=job.device,
        micro_batch_size=division.micro_batch_size,
        accumulation_steps=division.accumulation,
    )
