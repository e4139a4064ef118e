"""A toy model that is trained under DeepSpeed in every configuration, and its expected result."""

import json
import tempfile
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from pipeline.optim.parameters import Parameters

STEPS, GLOBAL_BATCH, WORDS, LENGTH, LR, CLIP = 5, 12, 37, 7, 2e-2, 1.0


class Toy(nn.Module):
    """A model of odd sizes with a tied weight, a tensor that is larger than a partition, and a part that runs
    `repeats` times.
    """

    def __init__(self, checkpointing=False, repeats=1):
        super().__init__()
        self.checkpointing, self.repeats = checkpointing, repeats
        self.embedding = nn.Embedding(WORDS, 11)
        self.norm = nn.LayerNorm(11)
        self.hidden = nn.Linear(11, 33)
        self.back = nn.Linear(33, 11, bias=False)
        self.bias = nn.Parameter(torch.zeros(WORDS))

    def forward(self, ids):
        hidden = self.norm(self.embedding(ids))
        for _ in range(self.repeats):
            hidden = checkpoint(self.middle, hidden, use_reentrant=False) if self.checkpointing else self.middle(hidden)
        return hidden @ self.embedding.weight.T.to(hidden.dtype) + self.bias

    def middle(self, hidden):
        return self.back(torch.tanh(self.hidden(hidden)))


def toy(checkpointing=False, repeats=1):
    torch.manual_seed(5)
    model = Toy(checkpointing, repeats)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def no_weight_decay(name):
    return "norm" in name or name.endswith("bias")


def stacked(name):
    return 33 if name == "hidden.weight" else 1  # (33, 11) taken for 33 tensors of 11, to have some cut by partitions


def stacked_matrices(name):
    return 3 if name == "hidden.weight" else 1


def is_matrix(name):
    return name in ("hidden.weight", "back.weight")


PARAMETERS = {
    "lamb": Parameters(lambda name: not no_weight_decay(name), stacked),
    "muon": Parameters(lambda name: not no_weight_decay(name), stacked_matrices, is_matrix),
}


def samples(step):
    return torch.from_numpy(np.random.default_rng(step).integers(0, WORDS, (GLOBAL_BATCH, LENGTH)))


def loss_sum(logits, ids):
    return nn.functional.cross_entropy(logits.flatten(0, 1).float(), (ids * 5 + 1).flatten() % WORDS, reduction="sum")


class Reference:
    """Unsharded LAMB in float64, written from the paper, for whole tensors in one process."""

    def __init__(self, named):
        self.named = named
        self.state = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in named.items()}
        self.t = 0

    @torch.no_grad()
    def step(self, grads):
        self.t += 1
        for name, p in self.named.items():
            g = grads[name]
            m, v = self.state[name]
            m.copy_(0.9 * m + 0.1 * g)
            v.copy_(0.999 * v + 0.001 * g * g)
            decay = 0.0 if no_weight_decay(name) else 0.01
            u = (m / (1 - 0.9**self.t)) / ((v / (1 - 0.999**self.t)).sqrt() + 1e-6) + decay * p
            for w, part in zip(p.chunk(stacked(name)), u.chunk(stacked(name)), strict=True):
                ratio = w.norm() / part.norm() if decay else 1.0
                w.sub_(LR * ratio * part)


class MuonReference(Reference):
    """Unsharded Muon in float64, whose Newton-Schulz iteration acts on the singular values."""

    @torch.no_grad()
    def step(self, grads):
        self.t += 1
        for name, p in self.named.items():
            g, (m, v), decay = grads[name], self.state[name], 0.0 if no_weight_decay(name) else 0.01
            if is_matrix(name):
                m.copy_(0.95 * m + 0.05 * g)
                for w, d in zip(*(x.chunk(stacked_matrices(name)) for x in (p, 0.95 * m + 0.05 * g)), strict=True):
                    left, values, right = torch.linalg.svd(d, full_matrices=False)
                    values = values / values.norm()
                    for _ in range(5):
                        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
                    w.sub_(LR * (0.2 * max(w.shape) ** 0.5 * (left @ torch.diag(values) @ right) + decay * w))
                continue
            m.copy_(0.9 * m + 0.1 * g)
            v.copy_(0.999 * v + 0.001 * g * g)
            u = (m / (1 - 0.9**self.t)) / ((v / (1 - 0.999**self.t)).sqrt() + 1e-6) + decay * p
            p.sub_(LR * u)


def trained_in_float64(clip=CLIP, reference_class=Reference, repeats=1):
    """Train the toy in float64, model and optimizer, and return its weights."""
    model = toy(repeats=repeats).double()
    reference = reference_class(dict(model.named_parameters()))
    for t in range(1, STEPS + 1):
        model.zero_grad()
        (loss_sum_64(model(samples(t)), samples(t)) / (GLOBAL_BATCH * LENGTH)).backward()
        total = sum(p.grad.square().sum() for p in model.parameters()).sqrt().item()
        scale = max(1.0, (total + 1e-6) / clip) if clip else 1.0
        reference.step({name: p.grad / scale for name, p in model.named_parameters()})
    return {name: p.detach() for name, p in model.named_parameters()}


def loss_sum_64(logits, ids):
    return nn.functional.cross_entropy(logits.flatten(0, 1), (ids * 5 + 1).flatten() % WORDS, reduction="sum")


def replayed_in_float64(initial, gradients, reference_class=Reference):
    """Return the weights after the unsharded optimizer took the gradients that DeepSpeed passed on, one dict per step.

    `initial` is the master weights before; in bf16 DeepSpeed makes them from the rounded weights.
    """
    named = {name: initial[name].double().view(p.shape) for name, p in toy().named_parameters()}
    reference = reference_class(named)
    for grads in gradients:
        reference.step({name: grad.double().view_as(named[name]) for name, grad in grads.items()})
    return named


@contextmanager
def json_file(settings):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"zero_allow_untested_optimizer": True} | settings, file)
        file.flush()
        yield file.name


def allow_fp16_on_a_cpu():
    """Allow fp16 on a CPU, which torch computes and DeepSpeed refuses where it is slow."""
    from deepspeed.accelerator import get_accelerator

    type(get_accelerator()).is_fp16_supported = lambda self: True


def build_engine(
    device, settings, *, accumulation=2, clip=CLIP, checkpointing=False, repeats=1, micro_batch=0, name="lamb"
):
    from deepspeed.runtime import torch_autocast

    from pipeline.engine.engine import EngineConfig, build, read_settings
    from pipeline.optim.lamb import OptimizerConfig
    from pipeline.runtime import distributed

    torch_autocast.TORCH_AUTOCAST_INITIALIZED = False  # an engine before this one, of the same process, may have set it
    allow_fp16_on_a_cpu()
    with json_file(settings) as path:
        return build(
            toy(checkpointing, repeats),
            PARAMETERS[name],
            OptimizerConfig(name=name, lr=LR, max_grad_norm=clip),
            read_settings(EngineConfig(deepspeed=path)),
            device=device,
            micro_batch_size=micro_batch or GLOBAL_BATCH // distributed.world_size() // accumulation,
            accumulation_steps=accumulation,
        )


def train_steps(engine, steps, accumulation=2, spoil=()):
    """Train on this rank's share; at the steps in `spoil`, the last rank's first loss is infinite."""
    from pipeline.runtime import distributed

    rank, world = distributed.rank(), distributed.world_size()
    for t in steps:
        mine = samples(t).view(world, accumulation, -1, LENGTH)[rank]
        for number, ids in enumerate(mine):
            loss = loss_sum(engine.forward(ids), ids) / (GLOBAL_BATCH * LENGTH)
            if t in spoil and number == 0 and rank == world - 1:
                loss = loss * torch.inf
            engine.backward(loss)
            engine.step(LR)


def train(cases, poison=True):
    """Train the toy on each rank and for each case; return weights before and after, and the gradients of each step, in
    fragments.

    `poison` puts NaN into all padding before the first step.
    """
    from pipeline.engine.engine import EngineConfig, start
    from pipeline.runtime import distributed

    device = start(EngineConfig())
    results = {}
    for name, (settings, options) in cases.items():
        try:
            engine = build_engine(device, settings, **options)
            if poison:
                poison_padding(engine.shards)
            initial, gradients = pieces(engine.shards, lambda shard: shard.flat), record_gradients(engine)
            train_steps(engine, range(1, STEPS + 1), options.get("accumulation", 2))
            results[name] = (initial, pieces(engine.shards, lambda shard: shard.flat), gradients)
        except Exception as error:
            error.add_note(f"in case {name!r}")
            raise
    distributed.shutdown()
    return results


def poison_padding(shards):
    for shard in shards:
        padding = torch.ones(len(shard.flat), dtype=torch.bool)
        for _, start, stop, _ in shard.fragments:
            padding[start:stop] = False
        shard.flat[padding] = torch.nan


def record_gradients(engine):
    """Return a list that grows by one {name: [(offset, values)]} at each step: the clipped gradients, of all calls in
    it.
    """
    gradients, optimizer = [], engine.optimizer
    clip, step = optimizer._clip, optimizer.step

    def record():
        present = [
            s for s in optimizer.shards if any(s.param is p for g in optimizer.param_groups for p in g["params"])
        ]
        found = pieces(present, lambda shard: shard.param.grad.view(-1) * optimizer._grad_scale)
        if not gradients or found.keys() & gradients[-1].keys():
            gradients.append({})
        gradients[-1].update(found)

    def recording_clip():
        finite = clip()
        record()
        return finite

    def recording_step(closure=None):
        if not optimizer.clips:
            record()
        step()

    optimizer._clip, optimizer.step = recording_clip, recording_step
    return gradients


def pieces(shards, values_of):
    """Return this rank's fragments: name -> [(offset, values)]."""
    found = {}
    for shard in shards:
        for tensor, start, stop, offset in shard.fragments:
            found.setdefault(shard.names[tensor], []).append((offset, values_of(shard)[start:stop].clone()))
    return found


def assemble(per_rank):
    """Join all ranks' pieces into name -> (n,) whole tensors, with NaN where a piece is missing."""
    whole = {name: torch.full((p.numel(),), torch.nan) for name, p in toy().named_parameters()}
    for found in per_rank:
        for name, parts in found.items():
            for offset, values in parts:
                whole[name][offset : offset + len(values)] = values
    return whole


def results_of(per_rank, case):
    """Return the whole (weights before, weights after, gradients of each step) of a case."""
    before, after = (assemble([result[case][i] for result in per_rank]) for i in (0, 1))
    steps = zip(*(result[case][2] for result in per_rank), strict=True)
    return before, after, [assemble(step) for step in steps]


def largest_difference(weights, expected):
    """Return the largest difference over the tensor's largest weight, over all tensors."""
    return max(
        ((weights[name].double() - value.flatten()).abs().max() / value.abs().max()).item()
        for name, value in expected.items()
    )


def norm_difference(weights, expected):
    """Return the norm of the difference over the tensor's norm, the largest over all tensors."""
    return max(
        ((weights[name].double() - value.flatten()).norm() / value.norm()).item() for name, value in expected.items()
    )
