"""DeepSpeed's partitions as `Shard`s, so that LAMB and Muon compute the same update under every ZeRO stage.

Written against the attributes of deepspeed 0.19.8. DeepSpeed keeps its own map from parameters to partitions
(`param._hp_mapping`), which is wrong under `round_robin_gradients`; the layout is therefore read from the offsets of
the buffers, and `check` compares every fragment with the model's weights before a step is taken."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import deepspeed
import torch
from deepspeed.runtime.bf16_optimizer import BF16_Optimizer
from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer
from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer
from torch import Tensor, nn

from pipeline.optim.exchange import ALONE, Ranks
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.optim.shards import Fragment, Shard, Stacks, fragments_of_partition, whole_tensors


@dataclass
class Binding:
    """Correspondence of the optimizer's shards to the model that DeepSpeed runs."""

    shards: list[Shard]
    """One shard for each tensor that DeepSpeed puts into a parameter group for an update."""
    model_part: Callable[[str, Fragment], Tensor]
    """(name, fragment) -> the elements of the fragment in the model's weight, on this rank, in the model's
    precision."""
    push: Callable[[], None]
    """Copy the master weights into the model's weights; all ranks call it together."""
    frozen: list[Shard] = field(default_factory=list)
    """This rank's shards of the frozen parameters, in fp32."""


def bind(
    engine: deepspeed.DeepSpeedEngine,
    optimizer: ShardedOptimizer,
    all_reduce: Callable[[Tensor], Any],
    stacks: Stacks,
    ranks: Ranks = ALONE,
) -> Binding:
    """Bind an optimizer to the partitions that `deepspeed.initialize` made.

    Args:
        engine: engine returned by `deepspeed.initialize`.
        optimizer: the optimizer that was passed to it.
        all_reduce: sums a tensor over all ranks in place.
        stacks: number of tensors that each parameter stacks.
        ranks: the same ranks, for Muon's exchange.

    Raises:
        ValueError: the type of the wrapper around the optimizer, or its layout, is unknown.
    """
    names = {id(parameter): name for name, parameter in engine.module.named_parameters()}
    wrapper = engine.optimizer
    refuse(engine)
    for kind, binding_of in (
        (ShardedOptimizer, _bare),
        (FP16_UnfusedOptimizer, _unfused),
        (BF16_Optimizer, _bf16),
        (DeepSpeedZeroOptimizer, _stage_1_and_2),
        (DeepSpeedZeroOptimizer_Stage3, _stage_3),
    ):
        if type(wrapper) is kind:
            binding: Binding = binding_of(wrapper, names)
            break
    else:
        raise ValueError(
            f"deepspeed {deepspeed.__version__} wrapped the optimizer in {type(wrapper).__name__}, whose partitions "
            "are not known here; use ZeRO stage 0, 1, 2 or 3 in fp32, bf16 or fp16 without offload"
        )
    check(binding)
    binding = with_frozen(binding, engine.module)
    optimizer.bind(binding.shards, all_reduce, stacks, ranks)
    return binding


def with_frozen(binding: Binding, module: Any) -> Binding:
    """Return the binding with shards of the frozen parameters, which are in no parameter group."""
    pairs: list[tuple[Shard, Tensor]] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            continue
        # ZeRO-3 partitions them like all others: equal chunks by rank, the last one with padding.
        is_cut = hasattr(parameter, "ds_tensor")
        held, shape = (parameter.ds_tensor, parameter.ds_shape) if is_cut else (parameter, parameter.shape)
        values = held.detach().view(-1)
        offset = deepspeed.comm.get_rank(group=parameter.ds_process_group) * len(values) if is_cut else 0
        values = values[: max(0, int(torch.Size(shape).numel()) - offset)]
        fragments = [Fragment(0, 0, len(values), offset)] if len(values) else []
        copy = values.float().clone()
        pairs.append((Shard((name,), (tuple(shape),), copy, fragments, False, not is_cut, frozen=True), values))

    def push() -> None:
        for shard, values in pairs:
            values.copy_(shard.flat)
        binding.push()  # under ZeRO-3 this also gathers the small parameters that every rank keeps whole

    return replace(binding, push=push, frozen=[shard for shard, _ in pairs]) if pairs else binding


def refuse(engine: deepspeed.DeepSpeedEngine) -> None:
    """Reject tensor parallelism and offloading, which change the update or the location of its tensors.

    Raises:
        ValueError: the engine uses one of them; the message names the remedy.
    """
    if engine.mpu is not None and engine.mpu.get_model_parallel_world_size() > 1:
        raise ValueError(
            f"mpu with a model-parallel world size of {engine.mpu.get_model_parallel_world_size()}: a tensor's norm "
            "would need a sum over tensor-parallel ranks too, which is not done here; leave mpu away"
        )
    for attribute in ("cpu_offload", "offload_optimizer", "swap_optimizer"):
        if getattr(engine.optimizer, attribute, False):
            raise ValueError(
                f"the optimizer is offloaded ({type(engine.optimizer).__name__}.{attribute}): not supported; remove "
                "zero_optimization.offload_optimizer from the DeepSpeed JSON, or use a higher ZeRO stage"
            )


def check(binding: Binding) -> None:
    """Compare every fragment of the master weights with the model's weights.

    Raises:
        ValueError: a fragment differs, so that DeepSpeed's layout is another one than assumed, or the master weights
        are
            not fp32.
    """
    for shard in binding.shards:
        if shard.param.dtype != torch.float32:
            raise ValueError(
                f"deepspeed {deepspeed.__version__} keeps the master weights in {shard.param.dtype}; this optimizer "
                "needs fp32: remove *_master_weights_and_grads from the DeepSpeed JSON"
            )
        for fragment in shard.fragments:
            ours = shard.flat[fragment.start : fragment.stop]
            model = binding.model_part(shard.names[fragment.tensor], fragment)
            if not torch.equal(ours.to(model.dtype), model):
                raise ValueError(
                    f"deepspeed {deepspeed.__version__}: elements from {fragment.offset} of "
                    f"{shard.names[fragment.tensor]} are not where its partition layout is taken to put them; "
                    "refusing to train (pin deepspeed to the version in requirements.txt)"
                )


def _bare(optimizer: ShardedOptimizer, names: dict[int, str]) -> Binding:
    """Bind stage 0 in fp32, in which the optimizer updates the model's parameters themselves."""
    tensors = [(names[id(p)], p, group["decayed"]) for group in optimizer.param_groups for p in group["params"]]
    muon = {names[id(p)] for group in optimizer.param_groups for p in group["params"] if group["muon"]}
    return Binding(whole_tensors(tensors, muon), _slice_of({name: p for name, p, _ in tensors}), push=lambda: None)


def _unfused(wrapper: FP16_UnfusedOptimizer, names: dict[int, str]) -> Binding:
    """Bind stage 0 in bf16 or fp16, which has an fp32 copy of each parameter."""
    tensors = [
        (names[id(low)], low, master, role)
        for lows, masters, role in zip(wrapper.fp16_groups, wrapper.fp32_groups, _roles(wrapper), strict=True)
        for low, master in zip(lows, masters, strict=True)
    ]

    def push() -> None:
        for _, low, master, _ in tensors:
            low.data.copy_(master.data)

    muon = {name for name, *_, role in tensors if role["muon"]}
    masters = whole_tensors(((name, master, role["decayed"]) for name, _, master, role in tensors), muon)
    for shard, (_, low, *_) in zip(masters, tensors, strict=True):
        shard.model = _written(low)
    return Binding(masters, _slice_of({name: low for name, low, *_ in tensors}), push)


def _written(low: Tensor) -> Tensor | None:
    """Return the flat weights for the update to write, if the kernels of all devices write their type."""
    return low.detach().view(-1) if low.dtype == torch.bfloat16 else None


def _stage_1_and_2(wrapper: DeepSpeedZeroOptimizer, names: dict[int, str]) -> Binding:
    """Bind ZeRO-1 and 2: one flat buffer per group in round-robin order, divided into equal partitions."""
    return _flat_partitions(
        names,
        groups=wrapper.round_robin_bit16_groups,
        offsets=wrapper.round_robin_bit16_offsets,
        partitions=wrapper.single_partition_of_fp32_groups,
        process_groups=wrapper.real_dp_process_group,
        roles=_roles(wrapper),
        push=wrapper.update_lp_params,
    )


def _bf16(wrapper: BF16_Optimizer, names: dict[int, str]) -> Binding:
    """Bind ZeRO-1 in bf16 with fp32 gradient accumulation: one flat buffer per group, without gaps."""
    offsets = []
    for group in wrapper.bf16_groups:
        starts = [0]
        for parameter in group[:-1]:
            starts.append(starts[-1] + parameter.numel())
        offsets.append(starts)
    binding = _flat_partitions(
        names,
        groups=wrapper.bf16_groups,
        offsets=offsets,
        partitions=wrapper.fp32_groups_flat_partition,
        process_groups=wrapper.real_dp_process_group,
        roles=_roles(wrapper),
        push=wrapper.update_lp_params,
    )
    for shard, parts, group in zip(
        binding.shards, wrapper.bf16_partitioned_groups, wrapper.real_dp_process_group, strict=True
    ):
        shard.model = _written(parts[deepspeed.comm.get_rank(group=group)])
    return binding


def _flat_partitions(
    names: dict[int, str],
    groups: list[list[nn.Parameter]],
    offsets: list[list[int]],
    partitions: list[Tensor],
    process_groups: list[Any],
    roles: list[dict[str, bool]],
    push: Callable[[], None],
) -> Binding:
    shards = []
    for group, starts, flat, process_group, role in zip(
        groups, offsets, partitions, process_groups, roles, strict=True
    ):
        rank = deepspeed.comm.get_rank(group=process_group)
        fragments = fragments_of_partition([p.numel() for p in group], starts, rank * flat.numel(), flat.numel())
        shards.append(_shard(names, group, flat, fragments, [tuple(p.shape) for p in group], role))
    return Binding(shards, _slice_of({names[id(p)]: p for group in groups for p in group}), push)


def _stage_3(wrapper: DeepSpeedZeroOptimizer_Stage3, names: dict[int, str]) -> Binding:
    """Bind ZeRO-3: each parameter is divided into equal chunks by rank; a sub-group is the concatenation of its chunks.

    The end of a parameter's last chunks is padding that DeepSpeed never writes, and that no fragment covers.
    """
    rank = deepspeed.comm.get_rank(group=wrapper.dp_process_group)
    shards = []
    for number, (group, flat) in enumerate(zip(wrapper.fp16_groups, wrapper.fp32_partitioned_groups_flat, strict=True)):
        fragments, start = [], 0
        for tensor, parameter in enumerate(group):
            chunk = parameter.partition_numel()
            real = min(max(parameter.ds_numel - rank * chunk, 0), chunk)
            if real:
                fragments.append(Fragment(tensor, start, start + real, rank * chunk))
            start += chunk
        role = _roles(wrapper)[wrapper.sub_group_to_group_id[number]]
        shards.append(_shard(names, group, flat, fragments, [tuple(p.ds_shape) for p in group], role))
    parameters = {names[id(p)]: p for group in wrapper.fp16_groups for p in group}

    def model_part(name: str, fragment: Fragment) -> Tensor:
        return parameters[name].ds_tensor.data.view(-1)[: fragment.stop - fragment.start]

    def push() -> None:
        for shard in shards:
            for fragment in shard.fragments:
                model_part(shard.names[fragment.tensor], fragment).copy_(shard.flat[fragment.start : fragment.stop])
        if wrapper.persistent_parameters:  # every rank keeps them whole between steps, and must gather them again
            wrapper.persistent_parameters[0].partition(wrapper.persistent_parameters)
            wrapper.persistent_parameters[0].all_gather(wrapper.persistent_parameters)

    return Binding(shards, model_part, push)


def _shard(
    names: dict[int, str],
    group: list[nn.Parameter],
    flat: Tensor,
    fragments: list[Fragment],
    shapes: list[tuple[int, ...]],
    role: dict[str, bool],
) -> Shard:
    names_of = tuple(names[id(p)] for p in group)
    return Shard(names_of, tuple(shapes), flat, fragments, role["decayed"], muon=role["muon"])


def _roles(wrapper: Any) -> list[dict[str, bool]]:
    """Return whether each parameter group, as made by `pipeline.engine.engine`, takes weight decay, and is Muon's."""
    return [{role: group[role] for role in ("decayed", "muon")} for group in wrapper.optimizer.param_groups]


def _slice_of(parameters: dict[str, nn.Parameter]) -> Callable[[str, Fragment], Tensor]:
    def model_part(name: str, fragment: Fragment) -> Tensor:
        size = fragment.stop - fragment.start
        return parameters[name].data.view(-1)[fragment.offset : fragment.offset + size]

    return model_part
