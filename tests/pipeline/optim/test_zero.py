"""Law 4: LAMB is LAMB under ZeRO 0 to 3, at any world size."""

import json
import tempfile

import numpy as np
import pytest
import torch
from ranks import on_ranks
from torch import nn

STEPS, GLOBAL_BATCH, LR, CLIP = 10, 12, 2e-2, 1.0


class Toy(nn.Module):
    """Odd sizes, a tied weight and a tensor larger than a partition."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(37, 11)
        self.norm = nn.LayerNorm(11)
        self.hidden = nn.Linear(11, 29)
        self.back = nn.Linear(29, 11, bias=False)
        self.bias = nn.Parameter(torch.zeros(37))

    def forward(self, ids):
        hidden = self.norm(self.embedding(ids))
        hidden = self.back(torch.tanh(self.hidden(hidden)))
        return hidden @ self.embedding.weight.T + self.bias

    def loss(self, ids):
        return nn.functional.cross_entropy(
            self(ids).flatten(0, 1).float(), (ids * 5 + 1).flatten() % 37, reduction="sum"
        )


def toy():
    torch.manual_seed(3)
    model = Toy()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def no_weight_decay(name):
    return "norm" in name or name.endswith("bias")


def stacked(name):
    return 29 if name == "hidden.weight" else 1  # (29, 11) taken for 29 tensors of 11, to have some cut by partitions


def samples(step):
    return torch.from_numpy(np.random.default_rng(step).integers(0, 37, (GLOBAL_BATCH, 7)))


def reference():
    """Unsharded LAMB in float64, written from the paper: whole tensors, one process, no code shared with ours."""
    model = toy().double()
    state = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in model.named_parameters()}
    for t in range(1, STEPS + 1):
        model.zero_grad()
        loss = nn.functional.cross_entropy(
            model(samples(t)).flatten(0, 1), (samples(t) * 5 + 1).flatten() % 37, reduction="mean"
        )
        loss.backward()
        total = sum(p.grad.square().sum() for p in model.parameters()).sqrt()
        clip = max(1.0, (total.item() + 1e-6) / CLIP)
        with torch.no_grad():
            for name, p in model.named_parameters():
                g = p.grad / clip
                m, v = state[name]
                m.copy_(0.9 * m + 0.1 * g)
                v.copy_(0.999 * v + 0.001 * g * g)
                decay = 0.0 if no_weight_decay(name) else 0.01
                u = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-6) + decay * p
                for w, part in zip(p.chunk(stacked(name)), u.chunk(stacked(name)), strict=True):
                    ratio = w.norm() / part.norm() if decay else 1.0
                    w.sub_(LR * ratio * part)
    return {name: p.detach() for name, p in model.named_parameters()}


def train(cases, bound=True):
    """On each rank: for each DeepSpeed JSON of `cases`, train the toy and return the full master weights by name."""
    from pipeline import distributed
    from pipeline.engine import EngineConfig, build, read_settings, start
    from pipeline.optim.lamb import OptimizerConfig

    device = start(EngineConfig())
    world, results = distributed.world_size(), {}
    for case, settings in cases.items():
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(settings | {"zero_allow_untested_optimizer": True}, file)
            file.flush()
            micro = GLOBAL_BATCH // world // 2
            engine = build(
                toy(),
                no_weight_decay,
                stacked,
                OptimizerConfig(lr=LR, max_grad_norm=CLIP),
                read_settings(EngineConfig(deepspeed=file.name)),
                device=device,
                micro_batch_size=micro,
                accumulation_steps=2,
            )
        if not bound:  # the negative control: every flat partition taken for one tensor
            pretend_flat(engine.optimizer)
        for t in range(1, STEPS + 1):
            mine = samples(t).view(world, 2, micro, 7)[distributed.rank()]
            for ids in mine:
                loss = (
                    engine.module.loss(ids) / (GLOBAL_BATCH * 7) if engine.zero_stage < 3 else engine_loss(engine, ids)
                )
                engine.backward(loss)
                engine.step(LR)
        results[case] = masters(engine)
    distributed.shutdown()
    return results


def engine_loss(engine, ids):
    logits = engine.forward(ids).flatten(0, 1).float()
    return nn.functional.cross_entropy(logits, (ids * 5 + 1).flatten() % 37, reduction="sum") / (GLOBAL_BATCH * 7)


def pretend_flat(optimizer):
    """Step as an ordinary LAMB would: one norm for each flat tensor of each rank."""
    from pipeline.optim.shards import whole_tensors

    flats = {id_: shards[0].flat for id_, shards in optimizer._by_tensor.items()}
    optimizer._by_tensor = {id_: next(iter(whole_tensors([("flat", flat)]).values())) for id_, flat in flats.items()}
    shards = [shard for shards in optimizer._by_tensor.values() for shard in shards]
    optimizer._units = {id(shard): (shard.names, shard.fragments) for shard in shards}


def masters(engine):
    """This rank's fragments: name -> [(offset, values)]."""
    found = {}
    for shard in engine.shards:
        for tensor, start, stop, offset in shard.fragments:
            found.setdefault(shard.names[tensor], []).append((offset, shard.flat[start:stop].clone()))
    return found


def assemble(per_rank, case):
    whole = {name: torch.full((p.numel(),), torch.nan) for name, p in toy().named_parameters()}
    for result in per_rank:
        for name, parts in result[case].items():
            for offset, values in parts:
                whole[name][offset : offset + len(values)] = values
    return whole


def difference(per_rank, case, expected):
    whole = assemble(per_rank, case)
    return max(
        ((whole[name].double() - value.flatten()).abs().max() / value.abs().max()).item()
        for name, value in expected.items()
    )


def zero(stage, **more):
    return {"zero_optimization": {"stage": stage} | more}


FP32 = {
    "stage 0": zero(0),
    "stage 1": zero(1),
    "stage 2": zero(2),
    "stage 2 overlap": zero(2, overlap_comm=True, reduce_bucket_size=300),
    "stage 2 round robin": zero(2, round_robin_gradients=True),
    "stage 2 alignment": zero(2, parameter_alignment=True),
    "stage 3": zero(3, stage3_param_persistence_threshold=0),
    "stage 3 sub-groups": zero(3, sub_group_size=100),
}


@pytest.mark.parametrize("world_size", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_fp32_weights_equal_unsharded_lamb_in_float64(world_size):
    """After 10 steps every weight equals the float64 reference to 1e-6 of its tensor's largest weight."""
    results = on_ranks(train, world_size, FP32)
    expected = reference()
    differences = {case: difference(results, case, expected) for case in FP32}
    assert max(differences.values()) < 1e-6, differences


def test_lamb_that_takes_partitions_for_tensors_fails():
    """The negative control: the same code unaware of the partitions is wrong by orders of magnitude."""
    cases = {"stage 2": FP32["stage 2"]}
    assert difference(on_ranks(train, 2, cases, False), "stage 2", reference()) > 1e-2


def test_bf16_stages_agree():
    """In bf16, stage 0 equals stage 1 to rounding (no phantom step); 2 and 3 differ by gradient rounding only."""
    cases = {f"stage {stage}": zero(stage) | {"bf16": {"enabled": True}} for stage in (0, 1, 2, 3)}
    results = on_ranks(train, 2, cases)
    expected = {name: value.double() for name, value in assemble(results, "stage 0").items()}
    assert difference(results, "stage 1", expected) < 1e-6
    assert difference(results, "stage 2", expected) < 0.1
    assert difference(results, "stage 3", expected) < 0.1
