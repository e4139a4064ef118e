"""Pre-train a model: `deepspeed --module pipeline.pretrain --recipe FILE.toml [--section.field value ...]`.

Also under torchrun and, without a launcher, as a single process. A run that exists is continued from its newest
checkpoint.
"""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import checkpoint, command, distributed
from pipeline.config import Recipe, open_run, parse
from pipeline.data.batch import Batch
from pipeline.data.loader import BatchDivision, MicroBatches, evaluation_batches, make_loader
from pipeline.data.masking import num_predictions
from pipeline.engine import DTYPES, Engine, build, read_settings, start
from pipeline.families import get_family
from pipeline.metrics import Writer, peak_flops
from pipeline.objectives.cross_entropy import IGNORED
from pipeline.optim.schedule import learning_rate_factor
from pipeline.progress import Progress
from pipeline.trainer import Plan, Trainer, TrainState
from preprocessing.files import sha256_file
from preprocessing.schema import MANIFEST_NAME, Manifest
from preprocessing.shards import SampleDataset


def pretrain(arguments: list[str]) -> None:
    """Parse, build, run."""
    # The deepspeed launcher adds --local_rank; the environment says the same.
    recipe = parse([argument for argument in arguments if not argument.startswith("--local_rank")])
    device = start(recipe.engine)
    with distributed.together("open the samples"):
        division = BatchDivision(
            recipe.batch.global_batch_size, recipe.batch.micro_batch_size, distributed.rank(), distributed.world_size()
        )
        settings = read_settings(recipe.engine)
        train, heldout = open_samples(recipe)
        init_from = checkpoint.resolve(Path(recipe.init_from)) if recipe.init_from else None
    with distributed.together("open the run"):
        run = open_run(recipe) if distributed.is_main() else Path(recipe.run_dir)
    engine = build_engine(recipe, settings, division, train.manifest.vocab_size, device)
    state = restore(recipe, run, init_from, engine, samples_id(train))
    progress = Progress(recipe.schedule.total_steps, state.step, run.name, distributed.is_main())
    progress.say(describe(recipe, engine, division, state))
    writer = Writer(run, recipe.logging, state.step)
    trainer = Trainer(
        engine,
        plan(recipe, division, train.manifest, engine),
        state,
        batches=training_batches(recipe, division, train, state, device),
        heldout=partial(
            evaluation_batches,
            heldout,
            recipe.masking,
            recipe.seed,
            division.micro_batch_size,
            division.rank,
            division.world_size,
            recipe.evaluation.samples,
        ),
        writer=writer,
        progress=progress,
        save=partial(save, recipe, run, engine, train),
    )
    try:
        trainer.train()
    finally:
        writer.close()
        progress.close()


def open_samples(recipe: Recipe) -> tuple[SampleDataset, SampleDataset]:
    """Both splits, verified: the ranks share the reading of checksums.

    Raises:
        ValueError: the samples are damaged, or do not fit the model or its objective.
    """
    train, heldout = (SampleDataset.open(recipe.data.samples, split) for split in ("train", "heldout"))
    if train.manifest.segments != "nsp":
        raise ValueError(
            f"{recipe.data.samples}: holds {train.manifest.segments} samples, but family {recipe.family} trains on "
            "pairs for next sentence prediction; build them with --segments nsp"
        )
    for dataset in (train, heldout):
        dataset.verify(range(distributed.rank(), len(dataset.shards), distributed.world_size()))
    longest, positions = train.manifest.max_seq_length, recipe.model.max_position_embeddings
    if longest > positions:
        raise ValueError(
            f"{recipe.data.samples}: sequences of up to {longest} tokens, but model.max_position_embeddings is "
            f"{positions}; raise it, or build shorter samples"
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
        family.no_weight_decay,
        family.stacked_tensors,
        recipe.optimizer,
        settings,
        device=device,
        micro_batch_size=division.micro_batch_size,
        accumulation_steps=division.accumulation,
    )


def restore(recipe: Recipe, run: Path, init_from: Path | None, engine: Engine, samples: str) -> TrainState:
    """Continue the run's newest checkpoint, or start from `init_from`, or from random weights.

    Raises:
        ValueError: the checkpoint is damaged, is of another model, or was trained on other samples.
    """
    newest = next(iter(checkpoint.complete(run)), None)
    source = newest or init_from
    if source is None:
        return TrainState()
    with distributed.together(f"verify {source}"):
        checkpoint.verify(source, (distributed.rank(), distributed.world_size()))
    with distributed.together(f"load {source}"):
        state = checkpoint.load(source, engine.shards, moments=newest is not None or recipe.init_moments)
        if newest and state["samples"] != samples:
            raise ValueError(
                f"{newest} was trained on other samples than {recipe.data.samples} (another {MANIFEST_NAME}); give the "
                "same data.samples, or start a new run with init_from"
            )
    engine.binding.push()
    if not newest:
        return TrainState()
    engine.load_loss_scaler(state["loss_scaler"])
    return TrainState(state["step"], state["consumed_samples"])


def training_batches(
    recipe: Recipe, division: BatchDivision, train: SampleDataset, state: TrainState, device: torch.device
) -> Any:
    """This rank's remaining micro-batches."""
    batches = MicroBatches(
        train, division, recipe.masking, recipe.seed, state.consumed_samples, recipe.data.token_multiple
    )
    remaining = (recipe.schedule.total_steps - state.step) * division.accumulation
    return make_loader(batches, range(remaining), recipe.data, pin_memory=device.type == "cuda")


def plan(recipe: Recipe, division: BatchDivision, samples: Manifest, engine: Engine) -> Plan:
    """The loop's numbers."""
    family, vocab_size, longest = get_family(recipe.family), samples.vocab_size, samples.max_seq_length

    flops = partial(family.training_flops, recipe.model, vocab_size)
    nominal = flops(
        num_tokens=longest,
        sum_squared_lengths=longest**2,
        num_masked=int(num_predictions(np.array([longest]), recipe.masking)[0]),
        num_samples=1,
    )

    def count(batch: Batch) -> list[float]:
        masked, samples = int((batch.masked_labels != IGNORED).sum()), batch.num_samples
        tokens, squares = int(batch.lengths.sum()), int(batch.lengths.square().sum())
        real = flops(num_tokens=tokens, sum_squared_lengths=squares, num_masked=masked, num_samples=samples)
        return [masked, samples, tokens, real, samples * nominal]

    return Plan(
        total_steps=recipe.schedule.total_steps,
        accumulation_steps=division.accumulation,
        global_batch_size=division.global_batch_size,
        seed=recipe.seed,
        learning_rate=lambda step: recipe.optimizer.lr * learning_rate_factor(step, recipe.schedule),
        count=count,
        peak_flops=peak_flops(engine.device, DTYPES[engine.precision], recipe.logging.peak_tflops),
        log_every=recipe.logging.every,
        save_every=recipe.checkpoint.every,
        evaluate_every=recipe.evaluation.every,
    )


def save(recipe: Recipe, run: Path, engine: Engine, train: SampleDataset, state: dict[str, Any]) -> None:
    """Write a checkpoint that says everything about itself."""
    about = {
        "family": recipe.family,
        "model": asdict(recipe.model),
        "vocab_size": train.manifest.vocab_size,
        "samples": samples_id(train),
        "recipe": json.loads(json.dumps(asdict(recipe), default=str)),
        "loss_scaler": engine.loss_scaler(),
        "precision": engine.precision,
        "zero_stage": engine.zero_stage,
        "world_size": distributed.world_size(),
    }
    checkpoint.save(run, about | state, engine.shards, train.tokenizer_dir, recipe.checkpoint.keep)


def samples_id(train: SampleDataset) -> str:
    """What identifies the samples: the checksum of their manifest, which holds those of the shards."""
    return sha256_file(train.directory / MANIFEST_NAME)


def describe(recipe: Recipe, engine: Engine, division: BatchDivision, state: TrainState) -> str:
    """One line on what is about to run."""
    parameters = sum(int(torch.Size(shape).numel()) for shard in engine.shards for shape in shard.shapes)
    begin = f"continuing at step {state.step}" if state.step else "from the start"
    return (
        f"{recipe.family}, {parameters / 1e6:.1f} M parameters, {engine.precision}, ZeRO-{engine.zero_stage}, "
        f"{division.world_size} x {engine.device.type}, global batch {division.global_batch_size} = "
        f"{division.world_size} x {division.micro_batch_size} x {division.accumulation}, {begin}"
    )


if __name__ == "__main__":
    command.main(pretrain)
