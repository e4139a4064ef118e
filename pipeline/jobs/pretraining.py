"""A pre-training run, step by step: samples, run directory, engine, checkpoint, training loop."""

import shutil
import socket
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.model_files import tokenizer_files
from pipeline.checkpoints.saving import Saver
from pipeline.config import Recipe, plain
from pipeline.data.batch import Batch
from pipeline.data.loader import BatchDivision, MicroBatches, evaluation_batches, make_loader
from pipeline.data.masking import Draw
from pipeline.data.packing import longest_sequence
from pipeline.engine.config import EngineConfig
from pipeline.engine.engine import DTYPES, Engine, build, read_settings, start
from pipeline.families import get_family
from pipeline.jobs.restoring import Request, restore
from pipeline.jobs.run_directory import open_run
from pipeline.model.flops import measure
from pipeline.optim.schedule import learning_rate_factor
from pipeline.runlog.events import Events, job_id
from pipeline.runlog.metrics import Writer, peak_flops
from pipeline.runlog.reader import EVENTS, METRICS
from pipeline.runtime import distributed, faults
from pipeline.runtime.command import USER_ERRORS
from pipeline.runtime.logger import LOG
from pipeline.runtime.logs import close_log, open_log
from pipeline.runtime.progress import Progress
from pipeline.runtime.signals import InterruptedRunError, StopSignals
from pipeline.runtime.watchdog import Watchdog
from pipeline.training.skipped import SkippedSteps
from pipeline.training.supervision import Supervisor, leave_if_asked
from pipeline.training.trainer import Plan, Trainer, TrainState
from preprocessing.files import sha256_file, sole_run
from preprocessing.schema import MANIFEST_NAME, Manifest
from preprocessing.shards import SampleDataset


def join(recipe: Recipe | None, error: Exception | None) -> torch.device:
    """Join the other ranks; on all of them together, raise what keeps one of them from beginning.

    A rank that ended alone would be taken for a fault, and its launcher would kill the others before they have said
    why. What can be checked without the others is checked before.

    Args:
        recipe: what this rank has read, or None.
        error: why it could not read it.
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
    """Train, unless another process trains the same run; on all ranks together."""
    with distributed.together("open the samples"):
        division = BatchDivision(
            recipe.batch.global_batch_size,
            recipe.batch.micro_batch_size,
            distributed.rank(),
            distributed.world_size(),
        )
        settings = read_settings(recipe.engine)
        train, heldout = open_samples(recipe, signals)
        init_from = checkpoint.resolve(Path(recipe.init_from)) if recipe.init_from else None
    leave_if_asked(signals)
    with ExitStack() as stack:
        run = Path(recipe.run_dir)
        with distributed.together("open the run"):
            if distributed.is_main():
                stack.enter_context(claimed(recipe))
        job = Job(recipe, run, device, division, settings, train, heldout, init_from)
        run_logged(job, signals)


@contextmanager
def claimed(recipe: Recipe) -> Iterator[None]:
    """The run's directory, for this process alone, without what a killed run left half-written."""
    with sole_run(Path(recipe.run_dir)):
        run = open_run(recipe)
        checkpoint.sweep(run)
        yield


@dataclass(frozen=True)
class Job:
    """What was asked for, read and checked."""

    recipe: Recipe
    run: Path
    device: torch.device
    division: BatchDivision
    settings: dict[str, Any]
    train: SampleDataset
    heldout: SampleDataset
    init_from: Path | None


def run_logged(job: Job, signals: StopSignals) -> None:
    """Train with a log, a watchdog and events; whatever ends the run is in them."""
    with distributed.together("begin to log"):
        log = open_log(job.run)
        events = Events(job.run, job.recipe.schedule.total_steps, step=0)
    watchdog = Watchdog(job.recipe.engine.timeout_minutes, log)
    watchdog.start()
    try:
        if train(job, Supervisor(signals, watchdog, events)):
            events.write("finished")
        events.beat("finished")
    except InterruptedRunError as interrupted:
        LOG.info(f"all is saved, and ended after {interrupted}; started again, the run continues")
        events.write("interrupted", signal=str(interrupted))
        events.beat("interrupted")
        raise
    except BaseException as error:
        LOG.error(f"ended by an error: {error}", exc_info=not isinstance(error, USER_ERRORS))
        with suppress(OSError):  # the disk may be full
            events.write("failed", error=f"{type(error).__name__}: {error}")
            events.beat("failed")
        raise
    finally:
        watchdog.stop()
        events.close()
        close_log(log)


def train(job: Job, supervisor: Supervisor) -> bool:
    """Build the engine, continue where the run stands, and train to the end; False if the run has finished before."""
    recipe, run, events = job.recipe, job.run, supervisor.events
    supervisor.beat("starting")
    faults.reach("starting")
    engine = build_engine(recipe, job.settings, job.division, job.train.manifest.vocab_size, job.device)
    supervisor.leave_if_asked()
    family = get_family(recipe.family)
    request = Request(run, plain(recipe), job.init_from, job.train, samples_id(job.train), family.terms)
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
    events.write("start", **attempt(engine, restored.source), terms=terms, **events.reached)
    progress.say(describe(recipe, engine, job.division, state, restored.source))
    warn_of_space(job, engine, progress)
    with distributed.together("open the metrics"):
        writer = Writer(run, recipe.logging, state.step, state.evaluated_step, engine.deepspeed.monitor)
    for name, damaged in ((METRICS, writer.damaged_lines), (EVENTS, events.damaged_lines)):
        if damaged:
            progress.say(f"warning: {run / name}: {damaged} lines cannot be read and are left out")
    batches = training_batches(recipe, job.division, job.train, state, job.device)
    describe_checkpoint = partial(about, job, engine)
    trainer = Trainer(
        engine,
        plan(recipe, job.division, job.train.manifest, engine),
        state,
        batches=batches,
        heldout=partial(
            evaluation_batches,
            job.heldout,
            family.template,
            job.division.micro_batch_size,
            job.division.rank,
            job.division.world_size,
            recipe.evaluation.samples,
        ),
        writer=writer,
        progress=progress,
        saver=Saver(run, engine.shards, job.train.tokenizer_dir, recipe.checkpoint, describe_checkpoint, events),
        supervisor=supervisor,
        skipped=SkippedSteps(run, recipe.engine.max_skipped_steps, events),
    )
    trainer.latest |= restored.state.get("metrics", {})
    try:
        trainer.train()
    finally:
        batches.close()
        writer.close()
        progress.close()
    return True


def has_finished(recipe: Recipe, state: TrainState) -> bool:
    """Whether the last step is done and, where it is wanted, evaluated."""
    evaluated = not recipe.evaluation.every or state.evaluated_step == state.step
    return state.step == recipe.schedule.total_steps and evaluated


def open_samples(recipe: Recipe, signals: StopSignals) -> tuple[SampleDataset, SampleDataset]:
    """Both splits, verified: the ranks share the reading of checksums, and leave the rest of it if asked to stop.

    Raises:
        ValueError: the samples are damaged, or do not fit the model or its objective.
    """
    train, heldout = (SampleDataset.open(recipe.data.samples, split) for split in ("train", "heldout"))
    family = get_family(recipe.family)
    if train.manifest.segments not in family.samples:
        raise ValueError(
            f"{recipe.data.samples}: holds {train.manifest.segments} samples, but family {recipe.family} trains on "
            f"{' or '.join(family.samples)}; build them with --segments {family.samples[0]}"
        )
    tokenizer_files(train.tokenizer_dir)  # What every checkpoint copies: refused now, not at the first of them.
    for dataset in (train, heldout):
        for shard in range(distributed.rank(), len(dataset.shards), distributed.world_size()):
            if not signals.received:
                dataset.verify([shard])
    longest, first = longest_sequence(train.manifest, family.template), family.template.first_position
    if longest + first > recipe.model.max_position_embeddings:
        raise ValueError(
            f"{recipe.data.samples}: sequences of up to {longest} tokens at positions from {first}, but "
            f"model.max_position_embeddings is {recipe.model.max_position_embeddings}; raise it to {longest + first}, "
            "or build shorter samples"
        )
    return train, heldout


def build_engine(
    recipe: Recipe, settings: dict[str, Any], division: BatchDivision, vocab_size: int, device: torch.device
) -> Engine:
    """The model with the recipe's random weights, in DeepSpeed."""
    family = get_family(recipe.family)
    torch.manual_seed(recipe.seed)
    return build(
        family.build(recipe.model, vocab_size),
        family.parameters,
        recipe.optimizer,
        settings,
        device=device,
        micro_batch_size=division.micro_batch_size,
        accumulation_steps=division.accumulation,
    )


def training_batches(
    recipe: Recipe, division: BatchDivision, train: SampleDataset, state: TrainState, device: torch.device
) -> Generator[Batch, None, None]:
    """This rank's remaining micro-batches."""
    batches = MicroBatches(
        train,
        division,
        recipe.masking,
        get_family(recipe.family).template,
        recipe.seed,
        state.consumed_samples,
        recipe.data.token_multiple,
    )
    remaining = (recipe.schedule.total_steps - state.step) * division.accumulation
    return make_loader(batches, range(remaining), recipe.data, pin_memory=device.type == "cuda")


def plan(recipe: Recipe, division: BatchDivision, samples: Manifest, engine: Engine) -> Plan:
    """The loop's numbers."""
    family = get_family(recipe.family)
    flops = measure(lambda config: family.build(config, samples.vocab_size), recipe.model).flops
    longest = np.array([longest_sequence(samples, family.template)])
    masked = recipe.masking.counts(longest, Draw(recipe.seed, np.zeros(1, np.int64), np.zeros(1, np.int64)))
    nominal = flops(
        num_tokens=int(longest[0]), sum_squared_lengths=int(longest[0] ** 2), num_masked=int(masked[0]), num_samples=1
    )

    def count(batch: Batch) -> dict[str, float]:
        real = flops(
            num_tokens=batch.counts["tokens"],
            sum_squared_lengths=int(batch.lengths.square().sum()),
            num_masked=batch.counts["masked"],
            num_samples=batch.counts["samples"],
        )
        return {**batch.counts, "flops": real, "nominal_flops": batch.num_samples * nominal}

    return Plan(
        total_steps=recipe.schedule.total_steps,
        accumulation_steps=division.accumulation,
        global_batch_size=division.global_batch_size,
        seed=recipe.seed,
        terms=family.terms,
        learning_rate=lambda step: recipe.optimizer.lr * learning_rate_factor(step, recipe.schedule),
        count=count,
        peak_flops=peak_flops(engine.device, DTYPES[engine.precision], recipe.logging.peak_tflops),
        log_every=recipe.logging.every,
        save_every=recipe.checkpoint.every,
        evaluate_every=recipe.evaluation.every,
    )


def about(job: Job, engine: Engine) -> dict[str, Any]:
    """What a checkpoint says about itself, beside the trainer's state."""
    return {
        "family": job.recipe.family,
        "terms": [asdict(term) for term in get_family(job.recipe.family).terms],
        "model": asdict(job.recipe.model),
        "vocab_size": job.train.manifest.vocab_size,
        "samples": samples_id(job.train),
        "recipe": plain(job.recipe),
        "loss_scaler": engine.loss_scaler(),
        "precision": engine.precision,
        "zero_stage": engine.zero_stage,
        "world_size": distributed.world_size(),
    }


def attempt(engine: Engine, source: Path | None) -> dict[str, Any]:
    """What the run's events say of an attempt that begins."""
    return {
        "world_size": distributed.world_size(),
        "zero_stage": engine.zero_stage,
        "precision": engine.precision,
        "device": engine.device.type,
        "host": socket.gethostname(),
        "job": job_id(),
        "from": str(source) if source else None,
    }


def warn_of_space(job: Job, engine: Engine, progress: Progress) -> None:
    """Say at the start, not after hours, that the disk is too small for the checkpoints."""
    size = 3 * 4 * sum(int(torch.Size(shape).numel()) for shard in engine.shards for shape in shard.shapes)
    missing = job.recipe.checkpoint.keep + 1 - len(checkpoint.complete(job.run))
    free = shutil.disk_usage(job.run).free
    if free < missing * size:
        progress.say(
            f"warning: {job.run}: {free / 2**30:.1f} GiB are free, but {missing} more checkpoints of "
            f"{size / 2**30:.1f} GiB will be there at a time; make room, or lower checkpoint.keep"
        )


def samples_id(train: SampleDataset) -> str:
    """What identifies the samples: the checksum of their manifest, which holds those of the shards."""
    return sha256_file(train.directory / MANIFEST_NAME)


def describe(recipe: Recipe, engine: Engine, division: BatchDivision, state: TrainState, source: Path | None) -> str:
    """One line on what is about to run."""
    parameters = sum(int(torch.Size(shape).numel()) for shard in engine.shards for shape in shard.shapes)
    begin = f"from {source}" if source else "from the start"
    begin = f"continuing at step {state.step}" if state.step else begin
    return (
        f"{recipe.family}, {parameters / 1e6:.1f} M parameters, {engine.precision}, ZeRO-{engine.zero_stage}, "
        f"{division.world_size} x {engine.device.type}, global batch {division.global_batch_size} = "
        f"{division.world_size} x {division.micro_batch_size} x {division.accumulation}, {begin}"
    )
