"""The training loop's numbers come from the recipe."""

from types import SimpleNamespace

import pytest
import torch
from recipes import write_recipe
from samples import make_samples

from pipeline.config import parse
from pipeline.data.loader import BatchDivision, MicroBatches
from pipeline.families import get_family
from pipeline.jobs.loop import loop_config, schedules
from pipeline.jobs.samples import data_schedule
from preprocessing.shards import SampleDataset


def test_numbers_of_the_recipe_and_counts_of_a_batch(tmp_path):
    """FLOPs are counted at the real lengths: a batch of unequal samples takes fewer than one at full length."""
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


def test_only_schedules_that_change_are_drawn_beside_the_rate(tmp_path):
    """A plain recipe records its learning rate alone; growing batches and a falling mask rate are
    recorded beside it.
    """
    samples = SampleDataset.open(make_samples(tmp_path / "samples", heldout=2), "train")
    path = str(write_recipe(tmp_path, tmp_path / "samples"))
    growing = ["--batch.global_batch_size_start", "12", "--masking.probability_start", "0.4"]
    found = {}
    for options in ([], [*growing, "--masking.max_predictions", "0"]):
        recipe = parse(["--recipe", path, *options])
        drawn = schedules(recipe, data_schedule(recipe, [samples.manifest]))
        found[len(options)] = {each.key: (each.value(1), each.value(8)) for each in drawn}
    assert found[0].keys() == {"learning_rate"} and found[0]["learning_rate"][0] == pytest.approx(5e-3)
    assert found[6].keys() == {"learning_rate", "mask_rate", "batch_size"}
    assert found[6]["batch_size"] == (12, 24)
    assert found[6]["mask_rate"][0] == pytest.approx(0.4, abs=0.02) and found[6]["mask_rate"][1] < 0.2
