"""The estimate of memory is the sum of its parts, keeps the laws of ZeRO, and agrees with measured steps."""

from dataclasses import replace

import pytest

from pipeline.engine.settings import Zero, find_deepspeed_json, read_deepspeed_json
from pipeline.families.bert import FAMILY, BertConfig
from pipeline.planning.measure import MicroBatch
from pipeline.planning.memory import PARTS, PROCESS_BYTES, estimate
from pipeline.planning.parameters import count_matrices, count_parameters

CONFIG, VOCAB = BertConfig(1024, 24, 16, 4096), 30_528
PARAMETERS = count_parameters(FAMILY.build, CONFIG, VOCAB)
BATCH = MicroBatch(8, 128, 20)


def of(stage, *, config=CONFIG, batch=BATCH, world_size=8, kind="cuda", precision="bf16", accumulating=False, muon=0):
    """Return the estimate for BERT-large, by default on CUDA devices."""
    zero = Zero.of(read_deepspeed_json(find_deepspeed_json(f"ds_configs/zero{stage}_{precision}.json")))
    numbers = {"precision": precision, "world_size": world_size, "kind": kind, "accumulating": accumulating}
    numbers["muon"] = muon
    return estimate(FAMILY.build, config, VOCAB, batch, zero, **numbers)


def test_parameters_are_counted_on_the_model():
    """BERT-large with a vocabulary of 30,528 has its known number of parameters."""
    assert PARAMETERS.total == sum(PARAMETERS.pieces) == 336_232_258
    assert PARAMETERS.word == 30_528 * 1024


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_optimizer_states_are_divided_by_the_ranks(stage):
    """The 12 bytes of fp32 per weight, K = 12 of the paper's 2 + 2 + K, are divided by N ranks."""
    need = of(stage, batch=MicroBatch(256, 128, 20), world_size=64)
    assert need.phase == "backward"
    assert need.parts["masters"] + need.parts["moments"] == pytest.approx(12 * PARAMETERS.total / 64, rel=1e-6)
    assert need.parts["weights"] == pytest.approx(2 * PARAMETERS.total / (64 if stage == 3 else 1), rel=1e-6)


def test_muon_has_one_moment_of_its_matrices():
    """Muon needs 4 bytes less for each of the 302 M weights of BERT-large's layers, divided by the ranks under ZeRO."""
    muon = count_matrices(FAMILY.build, CONFIG, VOCAB, FAMILY.parameters.is_matrix)
    assert muon == 24 * (4 * 1024**2 + 2 * 1024 * 4096)
    for stage, ranks in ((0, 1), (2, 8)):
        saved = of(stage).parts["moments"] - of(stage, muon=muon).parts["moments"]
        assert saved == 4 * muon / ranks


def test_stage_0_in_fp32_has_no_masters():
    """Stage 0 in fp32 updates the weights themselves, so it has 16 bytes per weight with gradients."""
    need = of(0, precision="fp32", batch=MicroBatch(64, 128, 20))
    assert need.parts["masters"] == 0
    assert need.parts["weights"] + need.parts["moments"] == 12 * PARAMETERS.total


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_more_of_anything_never_needs_less(stage):
    """A larger micro-batch, more accumulation, and fewer ranks never need less memory."""
    sizes = [of(stage, batch=MicroBatch(n, 128, 20)).total for n in (1, 8, 64, 512)]
    assert sizes == sorted(sizes)
    assert of(stage).total <= of(stage, accumulating=True).total
    assert of(stage, world_size=512).total <= of(stage, world_size=8).total <= of(stage, world_size=2).total


def test_checkpointing_saves_activations():
    """Of a large micro-batch, activation checkpointing saves most of the memory."""
    batch = MicroBatch(256, 128, 20)
    plain, saving = (of(1, batch=batch, config=replace(CONFIG, activation_checkpointing=on)) for on in (False, True))
    assert saving.parts["activations"] < plain.parts["activations"] / 5


def test_parts_add_up_and_only_a_heap_has_gaps():
    """The total is the sum of the parts, and only the heap of a CPU is assumed to have gaps."""
    for kind, precision in (("cpu", "fp32"), ("cuda", "bf16")):
        need = of(2, kind=kind, precision=precision)
        assert need.total == sum(need.parts[part] for part in PARTS) > PROCESS_BYTES[kind]
        assert bool(need.parts["gaps"]) == (kind == "cpu")


# GiB of peak resident set of a rank (`python -m benchmarks.memory_plan`); model, stage, ranks, samples of 128 tokens.
MEASURED = {
    ("mini", 0, 1, 8): 0.831,
    ("mini", 0, 2, 8): 0.842,
    ("mini", 1, 1, 8): 0.945,
    ("mini", 1, 2, 8): 0.997,
    ("mini", 2, 1, 8): 0.981,
    ("mini", 2, 2, 8): 1.059,
    ("mini", 3, 1, 8): 1.08,
    ("mini", 3, 2, 8): 1.078,
    ("base", 0, 1, 8): 3.311,
    ("base", 0, 2, 8): 3.301,
    ("base", 1, 1, 8): 4.205,
    ("base", 1, 2, 8): 3.733,
    ("base", 2, 1, 8): 4.41,
    ("base", 2, 2, 8): 3.835,
    ("base", 3, 1, 8): 4.975,
    ("base", 3, 2, 8): 3.967,
    ("mini", 2, 2, 32): 1.479,
    ("large", 0, 1, 8): 8.72,
    ("large", 2, 1, 8): 10.911,
    ("large", 3, 1, 8): 11.848,
}


# GiB of BERT-base in bf16 by stage; one rank and one sample of 16 tokens, so that weights and gradients count most.
MEASURED_BF16 = {0: 2.985, 1: 3.391}


MODELS = {"mini": BertConfig(256, 4, 4, 1024), "base": BertConfig(768, 12, 12, 3072), "large": CONFIG}


def estimated_gib(model, stage, ranks, batch, precision):
    """Return the estimate in GiB, with the arguments of `benchmarks.memory_plan`."""
    config = MODELS[model]
    need = estimate(
        FAMILY.build,
        config,
        30_522,
        batch,
        Zero.of(read_deepspeed_json(find_deepspeed_json(f"ds_configs/zero{stage}_{precision}.json"))),
        precision=precision,
        world_size=ranks,
        kind="cpu",
        accumulating=False,
    )
    return need.total / 2**30


@pytest.mark.parametrize(("case", "measured"), MEASURED.items(), ids=str)
def test_within_a_tenth_of_what_was_measured(case, measured):
    """The estimates are within a tenth of the figures measured in fp32 on two CPU cores."""
    model, stage, ranks, sequences = case
    found = estimated_gib(model, stage, ranks, MicroBatch(sequences, 128, 20), "fp32")
    assert found == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize(("stage", "measured"), MEASURED_BF16.items(), ids=str)
def test_within_a_tenth_of_what_was_measured_in_bf16(stage, measured):
    """The estimates in bf16, which include sums of gradients in fp32, are within a tenth of the measured figures."""
    assert estimated_gib("base", stage, 1, MicroBatch(1, 16, 2), "bf16") == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize(("stage", "precision", "on_each", "divided"), [
    (0, "bf16", 4, 0), (0, "fp16", 4, 0), (1, "bf16", 4, 0), (1, "fp16", 4, 0), (2, "bf16", 0, 4), (2, "fp16", 0, 4),
    (3, "bf16", 0, 4), (3, "fp16", 0, 4),
])  # fmt: skip
def test_sums_of_gradients_are_fp32(stage, precision, on_each, divided):
    """Sums of gradients are fp32: the bytes per weight on every rank, and those divided by the ranks, hold from the
    second micro-batch on.
    """
    batch = MicroBatch(1024, 128, 20)
    need = of(stage, batch=batch, world_size=4, precision=precision, accumulating=True)
    expected = (on_each + divided / 4) * PARAMETERS.total
    assert need.phase == "backward"
    # Beside them the gradients of the piece whose turn it is, and of the tied embedding, which the head has begun.
    piece = 2 * (PARAMETERS.word + PARAMETERS.layer)
    assert expected <= need.parts["gradients"] <= expected + piece + 64  # bytes of alignment
