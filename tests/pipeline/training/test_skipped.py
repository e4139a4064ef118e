"""Steps with gradients that are not finite are skipped on all ranks, explained, and limited in number."""

import json

import pytest
import torch
from ranks import on_ranks
from recipes import write_recipe
from samples import make_samples

from pipeline.data.loader import BatchDivision, MicroBatches
from pipeline.data.masking import MaskingConfig
from pipeline.data.template import Template
from pipeline.runlog.reader import EVENTS, METRICS, read_lines
from preprocessing.shards import SampleDataset


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples")


def spoiled(recipe, steps, options):
    """Train with a loss of NaN in rank 1's second micro-batch of some steps; return the error, if any."""
    from pipeline.engine.engine import Engine
    from pipeline.pretrain import pretrain
    from pipeline.runtime import distributed
    from pipeline.training.trainer import Trainer

    where = {"step": 0, "micro": 0}
    train_step, forward = Trainer.train_step, Engine.forward

    def noting_step(self):
        where.update(step=self.state.step + 1, micro=0)
        return train_step(self)

    def spoiling_forward(self, batch):
        output = forward(self, batch)
        where["micro"] += torch.is_grad_enabled()
        if where["step"] in steps and where["micro"] == 2 and distributed.rank() == 1 and torch.is_grad_enabled():
            output = output._replace(loss=output.loss * torch.nan)
        return output

    Trainer.train_step, Engine.forward = noting_step, spoiling_forward
    try:
        pretrain(["--recipe", str(recipe), "--engine.precision", "fp32", *options])
    except (FloatingPointError, distributed.PeerError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        distributed.shutdown()


@pytest.mark.parametrize("stage", [2, *(pytest.param(stage, marks=pytest.mark.slow) for stage in (0, 1, 3))])
def test_a_bad_step_is_skipped_and_its_samples_are_named(tmp_path, samples, stage):
    """The report names the micro-batch whose loss was NaN, with samples that a new loader yields again."""
    options = ["--engine.deepspeed", f"ds_configs/zero{stage}_{{precision}}.json"]
    assert on_ranks(spoiled, 2, write_recipe(tmp_path, samples), [3], options) == [None, None]
    report = json.loads((tmp_path / "run" / "skipped" / "step-00000003.json").read_text())
    (part,) = report["micro_batches"]
    dataset, division = SampleDataset.open(samples, "train"), BatchDivision(24, 4, 1, 2)
    batches = MicroBatches(dataset, division, MaskingConfig(), Template(), 12345, 48)
    assert part["loss"] == "nan" and part["group"] == batches[1].group
    assert part["samples"] == batches[1].sample_ids.tolist() and part["epochs"] == batches[1].epochs.tolist()
    (event,) = [line for line in read_lines(tmp_path / "run" / EVENTS)[0] if line["kind"] == "skipped_step"]
    assert event["step"] == 3 and event["consecutive"] == 1
    train = [line for line in read_lines(tmp_path / "run" / METRICS)[0] if line["kind"] == "train"]
    assert [line["skipped_steps"] for line in train] == [0, 0, 1, 1, 1, 1, 1, 1]
    assert [line["step"] for line in train if line["loss"] is None] == [3], "a skipped step has no part in averages"


def test_too_many_in_a_row_end_the_run(tmp_path, samples):
    """With max_skipped_steps = 3, the third skipped step in a row ends the run, and a good step resets the count."""
    options = ["--engine.max_skipped_steps", "3"]
    first, second = on_ranks(spoiled, 2, write_recipe(tmp_path, samples), [1, 2, 4, 5, 6], options)
    assert first.startswith("FloatingPointError: 3 steps in a row, up to 6, had infinite or NaN gradients")
    assert str(tmp_path / "run" / "skipped" / "step-00000006.json") in first
    assert second.startswith("PeerError")
