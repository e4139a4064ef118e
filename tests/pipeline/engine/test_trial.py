"""Trial steps leave no trace, at every ZeRO stage."""

import torch
from ranks import on_ranks
from zero_cases import GLOBAL_BATCH, PARAMETERS, samples, toy

from pipeline.optim.config import OptimizerConfig
from pipeline.optim.parameters import Parameters


class Loss(torch.nn.Module):
    """A model whose loss is the toy's cross entropy, as its share of the global mean."""

    def __init__(self):
        super().__init__()
        self.toy = toy()

    def forward(self, ids):
        loss = torch.nn.functional.cross_entropy(self.toy(ids).flatten(0, 1).float(), ids.flatten(), reduction="sum")
        return loss / (GLOBAL_BATCH * ids.shape[1])


def trained(stage, precision, trial):
    """Return this rank's weights and moments after three steps, with or without trial steps after the first one."""
    from pipeline.engine.config import EngineConfig
    from pipeline.engine.engine import build, read_settings, start
    from pipeline.engine.trial import on_trial
    from pipeline.runtime import distributed

    config = EngineConfig(deepspeed=f"ds_configs/zero{stage}_{{precision}}.json", precision=precision)
    device, rank, ranks = start(config), distributed.rank(), distributed.world_size()
    size = GLOBAL_BATCH // ranks // 2
    parameters = Parameters(lambda name: PARAMETERS["lamb"].decays(name.removeprefix("toy.")))
    made = build(
        Loss(),
        parameters,
        OptimizerConfig(),
        read_settings(config),
        device=device,
        micro_batch_size=size,
        accumulation_steps=2,
    )

    def step(number, rate):
        for micro in samples(number).view(2, ranks, size, -1)[:, rank]:
            made.backward(made.forward(micro))
            made.step(rate)

    step(0, 1e-2)
    if trial:
        with on_trial(made):
            step(10, 0.0)
            step(11, 0.5)
    counters = made.deepspeed.global_steps, made.deepspeed.micro_steps, torch.get_rng_state().sum()
    for number in (1, 2):
        step(number, 1e-2)
    tensors = [
        values[first:last].clone()
        for shard in made.shards
        for values in shard.tensors.values()
        for _, first, last, _ in shard.fragments
    ]
    return counters, tensors, made.loss_scaler()


def both(cases):
    return [(trained(*case, trial=True), trained(*case, trial=False)) for case in cases]


def test_training_goes_on_as_if_there_had_been_no_trial():
    """With and without trial steps, weights, moments, counters and loss scale of both ranks are equal bit for bit."""
    for cases in on_ranks(both, 2, [(0, "fp32"), (1, "bf16"), (2, "fp32"), (3, "bf16")]):
        for (counters, tensors, scaler), (expected_counters, expected, expected_scaler) in cases:
            assert counters == expected_counters and scaler == expected_scaler
            assert all(torch.equal(ours, theirs) for ours, theirs in zip(tensors, expected, strict=True))
