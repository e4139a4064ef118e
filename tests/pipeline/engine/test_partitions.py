"""LAMB is the same algorithm under ZeRO 0 to 3, in every precision, at any world size (law 4)."""

import tempfile
from functools import cache

import pytest
import torch
import zero_cases
from ranks import on_ranks
from zero_cases import (
    GLOBAL_BATCH,
    LR,
    STEPS,
    build_engine,
    largest_difference,
    norm_difference,
    pieces,
    poison_padding,
    replayed_in_float64,
    results_of,
    train,
    train_steps,
    trained_in_float64,
)

PRECISIONS = {
    "fp32": {},
    "bf16": {"bf16": {"enabled": True}},
    "fp16": {"fp16": {"enabled": True, "initial_scale_power": 8}},
    "autocast": {"torch_autocast": {"enabled": True, "dtype": "bfloat16"}},
}
# Name -> (stages, zero_optimization settings, options of `build_engine`). Tied weights are in all of them.
VARIANTS = {
    "plain": ((0, 1, 2, 3), {}, {}),
    "round robin": ((1, 2), {"round_robin_gradients": True}, {}),
    "alignment": ((1, 2), {"parameter_alignment": True}, {}),
    "overlap": ((1, 2, 3), {"overlap_comm": True, "reduce_bucket_size": 300}, {}),
    "sub-groups": ((3,), {"sub_group_size": 100}, {}),
    "no persistence": ((3,), {"stage3_param_persistence_threshold": 0}, {}),
    "no accumulation": ((0, 1, 2, 3), {}, {"accumulation": 1}),
    "no clipping": ((0, 1, 2, 3), {}, {"clip": 0.0}),
    "checkpointing": ((0, 1, 2, 3), {}, {"checkpointing": True}),
    "repeated layer": ((0, 1, 2, 3), {}, {"repeats": 3}),
    "repeated layer, checkpointing": ((2, 3), {}, {"repeats": 3, "checkpointing": True}),
}


def case(stage, precision, variant):
    _, zero, options = VARIANTS[variant]
    return {"zero_optimization": {"stage": stage} | zero} | PRECISIONS[precision], options


MATRIX = {
    f"stage {stage}, {precision}, {variant}": case(stage, precision, variant)
    for variant, (stages, _, _) in VARIANTS.items()
    for stage in stages
    for precision in PRECISIONS
}
# Every stage in fp32 and bf16, the other precisions where DeepSpeed has code of their own, and every variant in fp32 at
# the stages that treat it differently.
SHORT_PLAIN = {"fp32": (0, 1, 2, 3), "bf16": (0, 1, 2, 3), "fp16": (0, 2, 3), "autocast": (2,)}
SHORT_STAGES = {"round robin": (2,), "alignment": (1,), "overlap": (2, 3), "no accumulation": (2,), "no clipping": (0,)}
SHORT_STAGES |= {"checkpointing": (3,), "repeated layer": (2, 3), "repeated layer, checkpointing": (3,)}
SHORT = [f"stage {stage}, {precision}, plain" for precision, stages in SHORT_PLAIN.items() for stage in stages]
SHORT += [
    f"stage {stage}, fp32, {variant}"
    for variant, (stages, _, _) in VARIANTS.items()
    for stage in SHORT_STAGES.get(variant, stages)
    if variant != "plain"
]
full = pytest.mark.slow


@cache
def trained(world_size, short):
    return on_ranks(train, world_size, {name: MATRIX[name] for name in (SHORT if short else MATRIX)}, timeout=900)


# The whole reference run depends on clipping and repetitions only.
trained_in_float64 = cache(trained_in_float64)


def reference_of(name):
    """Return the weights after the whole reference run of a case."""
    options = MATRIX[name][1]
    return trained_in_float64(options.get("clip", 1.0), repeats=options.get("repeats", 1))


SELECTION = [(2, True), pytest.param(1, False, marks=full), pytest.param(2, False, marks=full)]
SELECTION += [pytest.param(3, False, marks=full)]


@pytest.mark.timeout(1000)
@pytest.mark.parametrize(("world_size", "short"), SELECTION)
def test_update_equals_unsharded_lamb_given_the_same_gradients(world_size, short):
    """In every precision, five steps with the gradients that DeepSpeed passed on, replayed by LAMB in float64 on whole
    tensors, end at the same fp32 weights to 1e-6 of each tensor's largest. All padding holds NaN meanwhile.
    """
    results = trained(world_size, short)
    differences = {}
    for name in results[0]:
        before, after, gradients = results_of(results, name)
        assert len(gradients) == STEPS
        differences[name] = largest_difference(after, replayed_in_float64(before, gradients))
    assert max(differences.values()) < 1e-6, differences


@pytest.mark.timeout(1000)
@pytest.mark.parametrize(("world_size", "short"), SELECTION)
def test_fp32_training_equals_float64_training(world_size, short):
    """With fp32 gradients, the whole run, model and clipping included, equals a run in float64 to 1e-6."""
    results = trained(world_size, short)
    differences = {
        name: largest_difference(results_of(results, name)[1], reference_of(name))
        for name in results[0]
        if ", fp32, " in name
    }
    assert max(differences.values()) < 1e-6, differences


@pytest.mark.timeout(1000)
@pytest.mark.parametrize(("world_size", "short"), SELECTION)
def test_bf16_training_differs_by_the_rounding_of_gradients(world_size, short):
    """A bf16 run differs from the float64 one by no more than the rounding of its gradients explains.

    A step moves a tensor by lr * ||w||, so its error is lr * ||w|| * e, where e is the relative error of the direction
    u. A gradient in bf16 has an error of about 2^-7 of its tensor's size (8 bits for activations, 8 for the product).
    Adam's u has the sign of small elements too: those below 2^-7, a share of 0.8 * 2^-7 in a normal distribution, may
    have the wrong sign, which adds (2u)^2 each: e <= sqrt(4 * 0.8 * 2^-7) = 0.16. Five steps have 5 * 0.02 * 0.16.
    """
    bound = STEPS * LR * (4 * 0.8 * 2**-7) ** 0.5
    results = trained(world_size, short)
    differences = {
        name: norm_difference(results_of(results, name)[1], reference_of(name))
        for name in results[0]
        if ", fp32, " not in name
    }
    assert max(differences.values()) < bound, differences


def train_unaware(stage):
    """As a negative control, let every rank take each of its flat partitions for one tensor, as an
    ordinary LAMB does.
    """
    from pipeline.engine.engine import EngineConfig, start
    from pipeline.optim.shards import Fragment, Shard
    from pipeline.runtime import distributed

    engine = build_engine(start(EngineConfig()), {"zero_optimization": {"stage": stage}})
    optimizer, true = engine.optimizer, engine.shards
    flat = [
        Shard(("flat",), ((len(s.flat),),), s.param, [Fragment(0, 0, len(s.flat), 0)], s.decayed, replicated=True)
        for s in true
    ]
    optimizer.bind(flat, distributed.all_reduce_sum_)
    train_steps(engine, range(1, STEPS + 1))
    found = pieces(true, lambda shard: shard.flat)
    distributed.shutdown()
    return found


@pytest.mark.parametrize("stage", [1, pytest.param(2, marks=full), pytest.param(3, marks=full)])
def test_lamb_that_takes_partitions_for_tensors_fails(stage):
    """Without knowledge of the partitions, the same code is wrong by orders of magnitude more than the tolerance."""
    weights = zero_cases.assemble(on_ranks(train_unaware, 2, stage))
    assert largest_difference(weights, trained_in_float64()) > 1e-1


def skip_overflow(cases):
    """Return weights, moments and step counts of two runs of each (stage, precision): with an infinite loss on one rank
    at step 2, and without step 2.
    """
    from pipeline.engine.engine import EngineConfig, start
    from pipeline.runtime import distributed

    device, results = start(EngineConfig()), {}
    for stage, precision in cases:
        settings = {"zero_optimization": {"stage": stage}} | PRECISIONS[precision]
        for name, steps, spoil in (("spoilt", (1, 2, 3), (2,)), ("left out", (1, 3), ())):
            engine = build_engine(device, settings)
            train_steps(engine, steps, spoil=spoil)
            weights = pieces(engine.shards, lambda shard: shard.flat)
            moments = pieces(engine.shards, lambda shard: shard.state["exp_avg"])
            counts = [shard.state["step"] for shard in engine.shards]
            results[stage, precision, name] = (weights, moments, counts, engine.skipped_steps)
    distributed.shutdown()
    return results


@pytest.mark.parametrize(
    "cases",
    [
        [(0, "bf16"), (1, "fp32"), (2, "bf16"), (3, "fp32")],
        pytest.param([(0, "fp32"), (1, "bf16"), (2, "fp32"), (3, "bf16")], marks=full),
    ],
)
def test_overflow_step_is_skipped_whole(cases):
    """After an infinite gradient on one rank, no rank changes a weight, a moment or a step count, and training
    continues.
    """
    for result in on_ranks(skip_overflow, 2, cases):
        for case in cases:
            spoilt, left_out = (result[*case, name] for name in ("spoilt", "left out"))
            for ours, theirs in zip(spoilt[:2], left_out[:2], strict=True):
                for name in ours:
                    for (_, a), (_, b) in zip(ours[name], theirs[name], strict=True):
                        assert torch.isfinite(a).all() and torch.equal(a, b), (case, name, a - b)
            assert spoilt[2] == left_out[2]
            assert (spoilt[3], left_out[3]) == (1, 0), case


def resume_by_deepspeed(directory):
    """Return runs with DeepSpeed's own save_checkpoint and load_checkpoint between two steps, for stages 1 to 3."""
    from pipeline.engine.engine import EngineConfig, start
    from pipeline.runtime import distributed

    device, results = start(EngineConfig()), {}
    for stage in (1, 2, 3):
        settings = {"zero_optimization": {"stage": stage}}
        straight = build_engine(device, settings)
        train_steps(straight, range(1, 4))
        straight.deepspeed.save_checkpoint(f"{directory}/{stage}")
        train_steps(straight, range(4, 7))
        resumed = build_engine(device, settings)
        resumed.deepspeed.load_checkpoint(f"{directory}/{stage}")
        poison_padding(resumed.shards)
        train_steps(resumed, range(4, 7))
        results[stage] = [pieces(engine.shards, lambda shard: shard.flat) for engine in (straight, resumed)]
    distributed.shutdown()
    return results


def test_deepspeed_checkpoints_continue_bit_for_bit():
    """DeepSpeed's own checkpoints continue bit for bit, since moments and step counts are in torch's
    optimizer state.
    """
    with tempfile.TemporaryDirectory() as directory:
        per_rank = on_ranks(resume_by_deepspeed, 2, directory)
    for stage in (1, 2, 3):
        straight, resumed = (zero_cases.assemble([result[stage][i] for result in per_rank]) for i in (0, 1))
        assert all(torch.equal(straight[name], resumed[name]) for name in straight), stage


def phantom(stages):
    """Return the weights after construction, before any step."""
    from pipeline.engine.engine import EngineConfig, start
    from pipeline.runtime import distributed

    device, results = start(EngineConfig()), {}
    for stage in stages:
        engine = build_engine(device, {"zero_optimization": {"stage": stage}, "bf16": {"enabled": True}})
        results[stage] = (pieces(engine.shards, lambda shard: shard.flat), [s.state["step"] for s in engine.shards])
    distributed.shutdown()
    return results


def test_construction_takes_no_step():
    """DeepSpeed's stage 0 calls the optimizer once with zero gradients during construction, which must
    change nothing.
    """
    (result,) = on_ranks(phantom, 1, (0, 1, 2, 3))
    initial = {name: p.detach().bfloat16().double() for name, p in zero_cases.toy().named_parameters()}
    for stage, (found, steps) in result.items():
        assert largest_difference(zero_cases.assemble([found]), initial) == 0, stage
        assert set(steps) == {0}


def refusals():
    """Return the error messages of settings that are refused."""
    import deepspeed
    from deepspeed.ops.adam import DeepSpeedCPUAdam  # noqa: F401 - offload asks for it

    from pipeline.engine import partitions
    from pipeline.engine.engine import EngineConfig, start
    from pipeline.engine.groups import parameter_groups
    from pipeline.optim.lamb import OptimizerConfig
    from pipeline.optim.optimizer import ShardedOptimizer

    start(EngineConfig())
    messages = {"version": deepspeed.__version__}

    def attempt(name, settings, break_it=lambda engine: None):
        model = zero_cases.toy()
        groups = parameter_groups(model, zero_cases.PARAMETERS["lamb"])
        optimizer = ShardedOptimizer(groups, OptimizerConfig())
        base = {"train_micro_batch_size_per_gpu": GLOBAL_BATCH, "zero_allow_untested_optimizer": True}
        engine, *_ = deepspeed.initialize(
            model=model, optimizer=optimizer, config=base | settings, dist_init_required=False
        )
        break_it(engine)
        try:
            partitions.bind(engine, optimizer, lambda sums: sums, lambda name: 1)
        except ValueError as error:
            messages[name] = str(error)

    class TensorParallel:
        @staticmethod
        def get_model_parallel_world_size():
            return 2

    def swap_two_offsets(engine):
        offsets = engine.optimizer.round_robin_bit16_offsets[0]
        offsets[0], offsets[1] = offsets[1], offsets[0]

    def keep_masters_in_bf16(engine):
        partition = engine.optimizer.single_partition_of_fp32_groups[0]
        partition.grad, partition.data = None, partition.data.bfloat16()

    class Unknown:
        pass

    stage2 = {"zero_optimization": {"stage": 2}}
    attempt("accepted", stage2)
    attempt("mpu", stage2, lambda engine: setattr(engine, "mpu", TensorParallel))
    attempt("layout", stage2, swap_two_offsets)
    attempt("wrapper", stage2, lambda engine: setattr(engine, "optimizer", Unknown()))
    offload = {"stage": 2, "offload_optimizer": {"device": "cpu"}}
    attempt("offload 2", {"zero_optimization": offload, "zero_force_ds_cpu_optimizer": False})
    attempt("offload 3", {"zero_optimization": offload | {"stage": 3}, "zero_force_ds_cpu_optimizer": False})
    attempt("masters", stage2, keep_masters_in_bf16)
    return messages


def test_what_cannot_be_exact_is_refused():
    """Tensor parallelism, offload, bf16 master weights, an unknown wrapper and an unexpected layout are errors."""
    (messages,) = on_ranks(refusals, 1)
    version = messages.pop("version")
    expected = {
        "mpu": "mpu with a model-parallel world size of 2",
        "layout": f"deepspeed {version}: elements from 0 of embedding.weight are not where its partition layout",
        "wrapper": f"deepspeed {version} wrapped the optimizer in Unknown, whose partitions are not known here",
        "offload 2": "the optimizer is offloaded (DeepSpeedZeroOptimizer.cpu_offload): not supported",
        "offload 3": "the optimizer is offloaded (DeepSpeedZeroOptimizer_Stage3.offload_optimizer): not supported",
        "masters": f"deepspeed {version} keeps the master weights in torch.bfloat16; this optimizer needs fp32",
    }
    assert messages.keys() == expected.keys()
    for name, start in expected.items():
        assert messages[name].startswith(start), messages[name]
