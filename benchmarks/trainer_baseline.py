"""Held-out figures of `transformers.Trainer` after some minutes of training on the samples of a recipe.

    python -m benchmarks.trainer_baseline --recipe demo --minutes 6 --rates '[5e-5,1e-4,1e-3]'

Trains Hugging Face's BERT of the recipe's shape as the example script `run_mlm.py` of `transformers` does: the default
initialisation, `DataCollatorForLanguageModeling` with 15 % masked tokens, padding to the longest sample, AdamW, linear
warm-up and decay. The steps that the minutes allow follow from a measured speed, as for `schedule.minutes`; a callback
ends the training if it takes longer. On a machine that other programs use, `--steps` fixes their number. The held-out
figures are computed with the fixed masks of the pipeline's own evaluation, so that they are comparable with `mlm_loss`
and `mlm_accuracy` there. `Trainer` needs the package accelerate, which the pipeline does not:
`pip install --no-deps accelerate`.
"""

import math
import tempfile
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
import transformers
from jsonargparse import auto_cli
from torch.utils.data import Dataset

from benchmarks.huggingface import masked_figures
from benchmarks.measuring import processor
from pipeline.config import Recipe, parse
from pipeline.data.heldout import evaluation_batches
from pipeline.data.loader import special_tokens
from pipeline.data.packing import pack
from pipeline.families.bert import FAMILY
from pipeline.jobs.budget import MOST_SECONDS, MOST_SHARE, steps_within
from pipeline.training.speed import MOST_STEPS, WARMUP_STEPS
from preprocessing.shards import SampleDataset

CLOCKS: dict[str, Callable[[], float]] = {
    "wall": time.monotonic,
    "cpu": lambda: time.process_time() / torch.get_num_threads(),
}
"""Clocks in seconds. The CPU time per thread does not depend on other programs on the machine."""
SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings")
"""Fields of `BertConfig` that come from the recipe; all others are the defaults of `transformers`."""


class Features(Dataset[dict[str, Any]]):
    """Samples with their special tokens as the collator reads them; `pairs`: with the label of the pair."""

    def __init__(self, samples: SampleDataset, pairs: bool) -> None:
        self.samples, self.pairs = samples, pairs
        self.special = special_tokens(samples, FAMILY.template).ids

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rows = np.array([index])
        packed = pack(FAMILY.template, self.samples.tokens(rows), self.samples.boundaries[rows], self.special)
        special = (~packed.is_text).astype(np.int64)
        features = {"input_ids": packed.input_ids, "token_type_ids": packed.segment_ids, "special_tokens_mask": special}
        return features | ({"next_sentence_label": int(self.samples.labels[index])} if self.pairs else {})


class Clock(transformers.TrainerCallback):
    """Times the steps after the first `skipped`, and ends the training after `limit` seconds of them."""

    def __init__(self, limit: float, skipped: int = 0, now: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.skipped, self.now = limit, skipped, now
        self.begin = self.seconds = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.begin = self.now()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step <= self.skipped:
            self.begin = self.now()
        self.seconds = self.now() - self.begin
        control.should_training_stop |= state.global_step > self.skipped and self.seconds >= self.limit


class Baseline:
    """A training as users of `transformers` write it, with the shape, samples, batches and seed of a recipe."""

    def __init__(
        self, recipe: Recipe, architecture: str, dropout: float, bf16: bool, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.recipe, self.architecture, self.bf16 = recipe, getattr(transformers, architecture), bf16
        self.now = now
        self.train, self.heldout = (SampleDataset.open(recipe.data.samples, name) for name in ("train", "heldout"))
        shape = {name: getattr(recipe.model, name) for name in SHAPE} | {"vocab_size": self.train.manifest.vocab_size}
        dropouts: dict[str, Any] = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        self.config = transformers.BertConfig(**shape, **dropouts)

    def trained(self, rate: float, steps: int, clock: Clock) -> transformers.Trainer:
        """Trains a new model for a number of steps, or until the clock ends the training."""
        transformers.set_seed(self.recipe.seed % 2**32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.train.tokenizer_dir)
        sizes, warmup = self.recipe.batch, round(steps * self.recipe.schedule.warmup_proportion)
        schedule: dict[str, Any] = {"max_steps": steps, "learning_rate": rate, "warmup_steps": warmup}
        silent: dict[str, Any] = {
            "save_strategy": "no",
            "logging_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }
        with tempfile.TemporaryDirectory() as directory:
            arguments = transformers.TrainingArguments(
                directory,
                **(schedule | silent),
                weight_decay=0.01,
                per_device_train_batch_size=sizes.micro_batch_size,
                gradient_accumulation_steps=sizes.global_batch_size // sizes.micro_batch_size,
                bf16=self.bf16,
                use_cpu=not torch.cuda.is_available(),  # without it, bf16 is refused where there is no GPU
                seed=self.recipe.seed % 2**32,
                remove_unused_columns=False,  # special_tokens_mask is an argument of the collator, not of the model
                include_num_input_tokens_seen="non_padding",
            )
            collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
            features = Features(self.train, pairs=self.architecture is transformers.BertForPreTraining)
            model = self.architecture(self.config)
            trainer = transformers.Trainer(model, arguments, collator, features, callbacks=[clock])
            trainer.train()
        return trainer

    def steps_within(self, rate: float, minutes: float) -> int:
        """Returns the steps that a number of minutes allows, from the speed of a short training."""
        clock = Clock(min(MOST_SECONDS, MOST_SHARE * 60 * minutes), WARMUP_STEPS, self.now)
        measured = self.trained(rate, WARMUP_STEPS + MOST_STEPS, clock).state.global_step - WARMUP_STEPS
        return steps_within(minutes, clock.seconds / measured, evaluated=0, every=0)

    def row(self, rate: float, minutes: float, steps: int = 0) -> str:
        """Trains at a peak rate, for a number of steps or for a number of minutes, and returns a row of the table."""
        clock = Clock(math.inf if steps else 60 * minutes, now=self.now)
        steps = steps or self.steps_within(rate, minutes)
        held = evaluation_batches(self.heldout, FAMILY.template, 32, 0, 1, self.recipe.evaluation.samples)
        trainer = self.trained(rate, steps, clock)
        loss, accuracy = masked_figures(trainer.model, held)
        done, tokens = trainer.state.global_step, trainer.state.num_input_tokens_seen / 1e6
        return f"| {rate:g} | {done:,} of {steps:,} | {tokens:.2f} | {loss:.3f} | {accuracy:.3f} |"


def main(
    minutes: float = 0.0,
    steps: int = 0,
    recipe: str = "demo",
    rates: list[float] = [5e-5, 1e-4, 1e-3],  # noqa: B006  jsonargparse reads it
    architecture: Literal["BertForPreTraining", "BertForMaskedLM"] = "BertForPreTraining",
    dropout: float = 0.1,
    bf16: bool = False,
    clock: Literal["wall", "cpu"] = "wall",
    options: list[str] = [],  # noqa: B006
) -> None:
    """Train at each rate and print a Markdown table.

    Args:
        minutes: duration of each training, without start, measurement and evaluation.
        steps: steps of each training in place of the minutes, for a machine whose speed varies; 0: the minutes count.
        recipe: name or file of the recipe that gives shape, samples, batch sizes, warm-up, seed and held-out samples.
        rates: peak learning rates.
        architecture: class of the model; BertForPreTraining needs samples with next-sentence labels.
        dropout: dropout of hidden states and attention.
        bf16: whether products are in bf16.
        clock: what the minutes are measured by: wall-clock time, or CPU time per thread where other programs run.
        options: options of pipeline.pretrain that change the recipe.

    Raises:
        ValueError: neither minutes nor steps are given, or both are.
    """
    if (minutes > 0) == (steps > 0):
        raise ValueError(f"--minutes {minutes:g} --steps {steps}: exactly one of them must be above 0; give one")
    baseline = Baseline(parse(["--recipe", recipe, *options]), architecture, dropout, bf16, CLOCKS[clock])
    print("| peak rate | steps | million tokens | held-out masked loss | accuracy |\n|---|---|---|---|---|")
    for rate in rates:
        print(baseline.row(rate, minutes, steps), flush=True)
    budget = f"{minutes:g} minutes ({clock} clock)" if minutes else f"{steps:,} steps"
    told = (architecture, recipe, budget, f"dropout {dropout:g}", f"{torch.get_num_threads()} threads")
    print("\n" + ", ".join((*told, processor())))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
