"""The training loop on real batches, with an engine that records what it gets and advances a clock."""

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import torch

from pipeline.data.config import MaskingConfig
from pipeline.data.heldout import evaluation_batches
from pipeline.data.loader import BatchDivision, MicroBatches
from pipeline.data.template import Template
from pipeline.model.output import Output
from pipeline.runlog.config import LoggingConfig
from pipeline.runlog.events import Events
from pipeline.runlog.metrics import Writer
from pipeline.runlog.reader import METRICS, read_lines
from pipeline.runlog.terms import Term
from pipeline.runtime.progress import Progress
from pipeline.runtime.signals import StopSignals
from pipeline.training.skipped import SkippedSteps
from pipeline.training.state import LoopConfig, TrainState
from pipeline.training.supervision import Supervisor
from pipeline.training.trainer import Trainer
from preprocessing.shards import SampleDataset

ACCUMULATION, STEPS, SEED = 3, 5, 12345
TERMS = (Term("mlm", "masked-token", "masked"),)
SECONDS_PER_FORWARD, SECONDS_PER_EVALUATION_BATCH = 0.5, 1000.0


class FakeEngine:
    """Records forward passes and updates; the loss of every masked token is the number of the step."""

    device = torch.device("cpu")

    def __init__(self, clock, not_finite=()):
        self.clock, self.not_finite = clock, not_finite
        self.forwards, self.rates, self.evaluated, self.skipped_steps = [], [], [], 0
        self.training = True
        self.deepspeed = SimpleNamespace(
            eval=lambda: setattr(self, "training", False), train=lambda: setattr(self, "training", True)
        )

    @property
    def number(self):
        """Return the step of the next forward pass."""
        return len(self.rates) // ACCUMULATION + 1

    def forward(self, batch):
        masked = batch.counts["masked"]
        if self.training:
            assert torch.is_grad_enabled()
            self.forwards.append((self.number, batch.group, batch.sample_ids.tolist(), torch.initial_seed()))
            self.clock.now += SECONDS_PER_FORWARD
        else:
            assert not torch.is_grad_enabled()
            self.evaluated.append(batch.sample_ids.tolist())
            self.clock.now += SECONDS_PER_EVALUATION_BATCH
        loss = math.nan if self.training and self.number in self.not_finite else float(self.number)
        sums = {"mlm_loss": torch.tensor(loss * masked), "mlm_correct": torch.tensor(1)}
        return Output(torch.tensor(loss * masked / batch.totals["masked"]), sums)

    def set_accumulation(self, micro_batches):
        assert micro_batches == ACCUMULATION

    def backward(self, loss):
        """Do nothing, since there are no weights."""

    def step(self, rate):
        last = (len(self.rates) + 1) % ACCUMULATION == 0
        self.skipped_steps += last and self.number in self.not_finite
        self.rates.append(rate)

    def grad_norm(self):
        return 1.0

    def trust_ratios(self):
        return {}


class FakeSaver:
    """Records the steps that are saved."""

    writing, error = False, None

    def __init__(self):
        self.begun, self.finished = [], 0

    def begin(self, state):
        self.begun.append(state)

    def settle(self):
        """Do nothing, since nothing is copied."""

    def publish(self):
        """Do nothing, since nothing is written."""

    def finish(self):
        self.finished = len(self.begun)


class Loop:
    """A trainer with its parts, and what they record."""

    def __init__(self, folder, samples, clock, *, engine=None, batches=None, order_gap=(), **numbers):
        folder.mkdir()
        self.engine, self.saver, self.signals = engine or FakeEngine(clock), FakeSaver(), StopSignals()
        self.division = BatchDivision(12, 4, 0, 1)
        train, heldout = (SampleDataset.open(samples, split) for split in ("train", "heldout"))
        self.batches = MicroBatches(train, self.division, MaskingConfig(), Template(), SEED)
        items = (self.batches[item] for item in range(STEPS * ACCUMULATION))
        config = LoopConfig(
            total_steps=STEPS,
            accumulation_steps=lambda step: ACCUMULATION,
            batch_size=lambda step: 12,
            seed=SEED,
            learning_rate=lambda step: step / 10,
            terms=TERMS,
            count=lambda batch, step: {**batch.counts, "flops": 0.0, "nominal_flops": 0.0},
            peak_flops=1.0,
            log_every=2,
            save_every=100,
            evaluate_every=0,
        )
        events = Events(folder, STEPS, 0)
        self.trainer = Trainer(
            self.engine,
            replace(config, **numbers),
            TrainState(),
            batches=batches(items) if batches else items,
            heldout=lambda: evaluation_batches(heldout, Template(), 4, 0, 1, 8),
            order_gap=tuple(partial(evaluation_batches, heldout, Template(), 4, 0, 1, n) for n in order_gap),
            writer=Writer(folder, LoggingConfig(tensorboard=False), 0, -1),
            progress=Progress(STEPS, 0, "run", enabled=False),
            saver=self.saver,
            supervisor=Supervisor(self.signals, SimpleNamespace(beat=lambda: None), events),
            skipped_steps=SkippedSteps(folder, 20, events),
        )
        self.folder = folder

    def run(self):
        self.trainer.train()
        return self

    @property
    def state(self):
        return self.trainer.state

    def lines(self, kind="train"):
        """Return the lines of metrics.jsonl without the fields that differ between any two runs."""
        lines = [line for line in read_lines(self.folder / METRICS)[0] if line["kind"] == kind]
        return [{key: line[key] for key in line if key not in ("time", "peak_memory_gib")} for line in lines]

    def count(self, name, *steps):
        """Return a count over the micro-batches of some steps."""
        items = [(step - 1) * ACCUMULATION + micro for step in steps for micro in range(ACCUMULATION)]
        return sum(self.batches[item].counts[name] for item in items)
