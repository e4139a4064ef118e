"""Laws of pipeline/planning/choice.py: choices and times of a plan."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.planning.choice import Choice, Phase, choose, divisors, nearest_gpus, timing
from pipeline.planning.cluster import Cluster
from pipeline.planning.memory import Estimate
from pipeline.planning.samples import Samples, length_by_name
from pipeline.planning.text import phase_summary
from pipeline.runtime.devices import DEVICES
from pipeline.runtime.formatting import GIB

RECIPES = Path(__file__).parents[3] / "pipeline" / "recipes"


def phase(name, length, mean=None, vocab_size=30_528):
    recipe = parse(["--recipe", str(RECIPES / f"{name}.toml")])
    return Phase(name, recipe, Samples(vocab_size, length, mean or length), "bf16")


LARGE = [phase("bert_large_phase1", 128), phase("bert_large_phase2", 512, 254)]


def test_nvidias_recipe_takes_its_known_number_of_operations():
    """7,038 batches of 65,536 samples of 128 tokens and 1,563 of 32,768 samples of 254 tokens on average take 1.36e20
    FLOP.
    """
    assert sum(p.flops for p in LARGE) == pytest.approx(1.36e20, rel=0.01)


def test_schedules_are_in_the_operations_and_the_time():
    """A batch that doubles half-way takes three quarters of the samples; with scaling, short samples have about as many
    tokens per step; a higher mask rate takes more operations.
    """
    one = phase("bert_mini", 128)
    batch = replace(one.recipe.batch, global_batch_size_start=one.global_batch // 2, growth_proportion=0.5)
    grown = replace(one, recipe=replace(one.recipe, batch=batch))
    assert grown.flops == pytest.approx(0.75 * one.flops) and grown.full_steps == pytest.approx(0.75 * 2400)
    assert grown.smallest_batch == 64
    data = replace(one.recipe.data, earlier_samples=[Path("samples32")], until=[0.5])
    scaled = replace(one.recipe, data=data, batch=replace(one.recipe.batch, scale_with_length=True))
    samples = replace(one.samples, earlier=((32, 32),))
    assert 0.8 * one.flops < replace(one, recipe=scaled, samples=samples).flops < one.flops
    masking = replace(one.recipe.masking, probability_start=0.45, max_predictions=0)
    high = replace(one, recipe=replace(one.recipe, masking=masking))
    assert high.flops > 1.2 * one.flops and high.most_masked(128) == 58


def test_time_is_operations_over_what_is_assumed():
    """On one GPU, which does not communicate, the time is FLOP / (peak * MFU)."""
    choice = choose(LARGE[0], 1, 73 * GIB)
    time = timing(LARGE[0], choice, Cluster(DEVICES["h100"], 1, 8, 50), 0.5)
    assert time.seconds == pytest.approx(LARGE[0].flops / (989e12 * 0.5))
    assert time.sequences_per_second == pytest.approx(LARGE[0].global_batch / time.step)


def test_a_budget_in_minutes_allows_as_many_steps_as_the_time_of_one():
    """With a budget in minutes, the number of steps depends on the speed and on the growth of the batch; the time does
    not.
    """
    small = phase("bert_mini", 128)
    schedule = replace(small.recipe.schedule, minutes=30.0)
    small = replace(small, recipe=replace(small.recipe, schedule=schedule))
    choice = Choice(0, 16, False, 8, Estimate({}, "step"))
    slow, fast = (timing(small, choice, Cluster(DEVICES["h100"], 1, 8, 50), mfu) for mfu in (0.01, 0.5))
    for time in (slow, fast):
        assert 1800 - time.step <= time.seconds == time.steps * time.step <= 1800
    assert fast.steps == pytest.approx(50 * slow.steps, rel=1e-3) and small.flops is None
    assert "as many steps as 30 minutes allow, of 128 samples" in phase_summary(small)
    batch = replace(small.recipe.batch, global_batch_size_start=16, growth_proportion=1.0)
    grows = replace(small, recipe=replace(small.recipe, batch=batch))
    more = timing(grows, choice, Cluster(DEVICES["h100"], 1, 8, 50), 0.01)
    # Seven equally long stages of 16 to 112 samples have 64 on average, half of 128.
    assert more.steps == pytest.approx(2 * slow.steps, rel=1e-3) and more.seconds == pytest.approx(1800, rel=1e-3)


@pytest.mark.parametrize("gpus", [1, 8, 64, 4096])
@pytest.mark.parametrize("gib", [14, 40, 80])
def test_choice_fits_divides_and_is_the_largest(gpus, gib):
    """The chosen micro-batch fits and divides the batch, and the next larger divisor does not fit; what layers keep is
    less than the whole memory, so that no size that would fit is left out.
    """
    choice = choose(LARGE[1], gpus, gib * GIB)
    per_gpu = LARGE[1].recipe.batch.global_batch_size // gpus
    assert LARGE[1].least_bytes(choice.micro_batch, choice.checkpointing) < choice.memory.total <= gib * GIB
    assert choice.micro_batch * choice.accumulation == per_gpu
    for larger in [d for d in divisors(per_gpu) if d > choice.micro_batch][:1]:
        need = LARGE[1].memory(gpus, choice.stage, larger, choice.checkpointing)
        assert need.total > gib * GIB
        assert LARGE[1].least_bytes(larger, choice.checkpointing) < need.total


def test_stage_rises_and_layers_are_recomputed_only_as_memory_falls():
    """As memory falls, the stage rises, then activation checkpointing is switched on, and finally there
    is no choice.
    """
    model = phase("megatron_bert_3.9b", 512)
    ways = [choose(model, 64, gib * GIB) for gib in (200, 60, 17, 10)]
    assert ways[0].stage == 0 and not ways[0].checkpointing
    assert ways[1].stage > 0 and not ways[1].checkpointing
    assert ways[2] is not None
    assert ways[3] is None


def test_only_the_given_stages_are_chosen():
    """If only stage 3 is given, it is chosen even where stage 0 would do."""
    assert choose(LARGE[0], 8, 73 * GIB).stage == 0
    assert choose(LARGE[0], 8, 73 * GIB, [3]).stage == 3


def test_numbers_of_gpus_over_which_a_batch_divides():
    """The nearest number of GPUs below the given one that divides the batch is found."""
    assert nearest_gpus(65_536, 10_000) == 8192
    assert divisors(12) == [1, 2, 3, 4, 6, 12]


@pytest.mark.parametrize(
    "path",
    sorted(path for path in RECIPES.glob("*.toml") if "for 80 GB" in path.read_text()),
    ids=lambda path: path.stem,
)
def test_recipes_for_a_gpu_compute_their_logits_once(path):
    """At the highest mask rate the logits of a micro-batch take at most `model.max_logits_mib`, above which their
    product would be computed again in the backward pass, and the micro-batch divides the global batch.
    """
    recipe = parse(["--recipe", str(path)])
    words = {"roberta": 50_265, "modernbert": 50_265, "albert": 30_000, "deberta": 30_000}.get(recipe.family, 30_522)
    length, _ = length_by_name(Path(recipe.data.samples), recipe.model.max_position_embeddings)
    masked = recipe.batch.micro_batch_size * phase(path.stem, length).most_masked(length)
    assert masked * words * 2 <= recipe.model.max_logits_mib << 20
    assert recipe.batch.global_batch_size % recipe.batch.micro_batch_size == 0
