"""Muon is the same algorithm under ZeRO 0 to 3, in every precision, at any world size (law 4)."""

import tempfile
from functools import cache

import pytest
import torch
import zero_cases
from ranks import on_ranks
from zero_cases import (
    STEPS,
    MuonReference,
    build_engine,
    largest_difference,
    pieces,
    poison_padding,
    replayed_in_float64,
    results_of,
    train,
    train_steps,
    trained_in_float64,
)

BF16 = {"bf16": {"enabled": True}}
FP16 = {"fp16": {"enabled": True, "initial_scale_power": 8}}
MUON = {"name": "muon"}


def case(stage, precision=None, options=(), **zero):
    return {"zero_optimization": {"stage": stage} | zero} | (precision or {}), MUON | dict(options)


SHORT = {f"stage {stage}, fp32": case(stage) for stage in range(4)}
SHORT |= {f"stage {stage}, bf16": case(stage, BF16) for stage in (0, 1)}  # wrappers of their own
SHORT |= {"stage 3, fp32, sub-groups": case(3, sub_group_size=100)}
LONG = SHORT | {f"stage {stage}, bf16": case(stage, BF16) for stage in (2, 3)}
LONG |= {f"stage {stage}, fp16": case(stage, FP16) for stage in range(4)}
LONG |= {f"stage {stage}, fp32, no clipping": case(stage, options={"clip": 0.0}) for stage in range(4)}
LONG |= {f"stage {stage}, fp32, round robin": case(stage, round_robin_gradients=True) for stage in (1, 2)}
LONG |= {f"stage {stage}, fp32, alignment": case(stage, parameter_alignment=True) for stage in (1, 2)}
full = pytest.mark.slow
SELECTION = [(2, True), *(pytest.param(ranks, False, marks=full) for ranks in (1, 2, 3))]


@cache
def trained(world_size, short):
    return on_ranks(train, world_size, SHORT if short else LONG, timeout=900)


@pytest.mark.timeout(1000)
@pytest.mark.parametrize(("world_size", "short"), SELECTION)
def test_update_equals_unsharded_muon_given_the_same_gradients(world_size, short):
    """Five steps with the gradients that DeepSpeed passed on equal float64 Muon on whole matrices.

    A step moves the elements of a matrix by 0.2 * lr = 0.004 and has an error of up to 1e-5 of that
    (tests/pipeline/optim/test_muon.py), so five steps have less than 2e-7, and less in relation to the largest weight,
    which is above 0.1. All padding holds NaN meanwhile.
    """
    results = trained(world_size, short)
    differences = {}
    for name in results[0]:
        before, after, gradients = results_of(results, name)
        assert len(gradients) == STEPS
        differences[name] = largest_difference(after, replayed_in_float64(before, gradients, MuonReference))
    assert max(differences.values()) < 4e-6, differences


@pytest.mark.timeout(1000)
@pytest.mark.parametrize(("world_size", "short"), SELECTION)
def test_fp32_training_equals_float64_training(world_size, short):
    """The whole fp32 run, model and clipping included, equals a run in float64; the iteration multiplies differences of
    the gradients, too.
    """
    results = trained(world_size, short)
    differences = {
        name: largest_difference(
            results_of(results, name)[1], trained_in_float64(LONG[name][1].get("clip", 1.0), MuonReference)
        )
        for name in results[0]
        if ", fp32" in name
    }
    assert max(differences.values()) < 1e-5, differences


def disturb(directory):
    """Return, for stages 2 and 3, runs with and without a step of infinite gradients, and a run that
    DeepSpeed resumed.
    """
    from pipeline.engine.engine import EngineConfig, start
    from pipeline.runtime import distributed

    device, results = start(EngineConfig()), {}

    def built(stage):
        return build_engine(device, case(stage)[0], **MUON)

    def state(engine):
        parts = [pieces(engine.shards, of) for of in (lambda s: s.flat, lambda s: s.state["exp_avg"])]
        return parts, [shard.state["step"] for shard in engine.shards]

    for stage in (2, 3):
        spoilt, left_out, resumed = (built(stage) for _ in range(3))
        train_steps(spoilt, (1, 2, 3, 4), spoil=(3,))
        train_steps(left_out, (1, 2))
        left_out.deepspeed.save_checkpoint(f"{directory}/{stage}")
        train_steps(left_out, (4,))
        resumed.deepspeed.load_checkpoint(f"{directory}/{stage}")
        poison_padding(resumed.shards)
        train_steps(resumed, (4,))
        results[stage] = [state(engine) for engine in (left_out, spoilt, resumed)]
    distributed.shutdown()
    return results


def test_skipped_steps_and_deepspeed_checkpoints_change_no_bit():
    """An infinite gradient on one rank skips the whole step, and DeepSpeed's own checkpoint holds momentum and step
    count.
    """
    with tempfile.TemporaryDirectory() as directory:
        per_rank = on_ranks(disturb, 2, directory)
    for stage in (2, 3):
        for result in per_rank:
            assert all(steps == result[stage][0][1] for _, steps in result[stage])
        for part in (0, 1):
            straight, spoilt, resumed = (
                zero_cases.assemble([result[stage][run][0][part] for result in per_rank]) for run in range(3)
            )
            for name, expected in straight.items():
                assert torch.equal(spoilt[name], expected), (stage, name)
                assert torch.equal(resumed[name], expected), (stage, name)
