"""The training loop's numbers come from the recipe."""

from types import SimpleNamespace

import pytest
import torch
from recipes import write_recipe
from samples import make_samples

from pipeline.config import parse
from pipeline.data.loader import BatchDivision, MicroBatches
from pipeline.families import get_family
from pipeline.jobs.loop import loop_config
from pipeline.jobs.samples import data_schedule
from preprocessing.shards import SampleDataset


def test_numbers_of_the_recipe_and_counts_of_a_batch(tmp_path):
    """A batch of unequal samples takes fewer FLOPs than the same samples at full length."""
    samples = SampleDataset.open(make_samples(tmp_path / "samples", heldout=2), "train")
    arguments = ["--logging.peak_tflops", "2"]
    recipe = parse(["--recipe", str(write_recipe(tmp_path, tmp_path / "samples")), *arguments])
    division = BatchDivision(24, 4, 0, 1)
    engine = SimpleNamespace(device=torch.device("cpu"), precision="fp32")
    schedule = data_schedule(recipe, [samples.manifest])
    config = loop_config(recipe, division, schedule, samples.manifest.vocab_size, engine)
    assert (config.total_steps, config.accumulation_steps(1), config.batch_size(1)) == (8, 6, 24)
    assert (config.log_every, config.save_every, config.evaluate_every) == (1, 4, 4)
    assert config.peak_flops == 2e12 and config.seed == recipe.seed
    assert config.learning_rate(1) == pytest.approx(5e-3) and config.learning_rate(2) == pytest.approx(1e-2)
    batches = MicroBatches(samples, division, recipe.masking, get_family("bert").template, recipe.seed)
    uneven = next(batch for batch in map(batches.__getitem__, range(60)) if len(set(batch.lengths.tolist())) > 1)
    counts = config.count(uneven, 1)
    assert {name: counts[name] for name in ("samples", "tokens", "masked")} == uneven.counts
    assert 0 < counts["flops"] < counts["nominal_flops"]
