"""DeepSpeed's update without the passes over gradients and weights that the optimizer makes unnecessary.

`ShardedOptimizer.measure` reads the gradients once. That one norm clips them, shows whether one is not finite, and is
what metrics report; the kernels apply the factor as they read the gradients, and write the bf16 weights as they write
the fp32 ones. DeepSpeed 0.19.8 makes further passes for each of these. `docs/decisions.md` counts the bytes.

| stage, precision | class | what is replaced here |
|---|---|---|
| 0, fp32 | none | the reduction |
| 0, bf16 and fp16 | FP16_UnfusedOptimizer | the reduction and the step |
| 1, bf16 | BF16_Optimizer | the addition of a micro-batch, the reduction, the step and the zeroing of the sums |
| 1 except in bf16, and 2 | DeepSpeedZeroOptimizer | the norm, the search for what is not finite, the scaling |
| 1 except in bf16 | | the reduction too, unless it overlaps with the backward pass |
| 3 | DeepSpeedZeroOptimizer_Stage3 | nothing |

Collectives, buckets and partitions remain DeepSpeed's.
"""

from typing import Any

import torch
from deepspeed.runtime.bf16_optimizer import BF16_Optimizer
from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer
from deepspeed.runtime.utils import all_gather_dp_groups
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer, GradPartitionBufferGroup
from torch import Tensor, nn

from pipeline.engine.replacing import replace_method, require_known
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.optim.shards import Fragment, fragments_of_partition
from pipeline.runtime import distributed


def remove_passes(engine: Any, optimizer: ShardedOptimizer) -> None:
    """Change an engine so that it does not pass over gradients and weights more often than necessary.

    Args:
        engine: the engine returned by `deepspeed.initialize`, after `sum_in_fp32`.
        optimizer: the optimizer that was passed to it, bound to its partitions.

    Raises:
        ValueError: a method that would be replaced is another one than in the known version of DeepSpeed.
    """
    wrapper = engine.optimizer
    if isinstance(wrapper, DeepSpeedZeroOptimizer):
        _measure_partitions(wrapper, optimizer)
        if not (wrapper.partition_gradients or wrapper.overlap_comm):
            _reduce_partitions(wrapper)
    elif isinstance(wrapper, BF16_Optimizer):
        _add_into_flat_sums(engine, wrapper)
        _update_flat_partitions(wrapper, optimizer)
    elif isinstance(wrapper, FP16_UnfusedOptimizer):
        _reduce_whole_gradients(engine)
        _update_whole_tensors(wrapper, optimizer)
    elif wrapper is optimizer:
        _reduce_whole_gradients(engine)


def _measure_partitions(wrapper: DeepSpeedZeroOptimizer, optimizer: ShardedOptimizer) -> None:
    """Take the norm of all groups from the optimizer, and leave clipping and the loss scale to its kernels.

    DeepSpeed itself takes amax and amin of each gradient, a norm in float64 of a copy, and a product in place.
    """
    require_known(DeepSpeedZeroOptimizer, "step")

    def scaled_global_norm(norm_type: int = 2) -> float:
        optimizer.loss_scale = wrapper.loss_scale
        optimizer.measure([part for group in wrapper.averaged_gradients.values() for part in _parts(group)])
        return optimizer.grad_norm * wrapper.loss_scale

    replace_method(wrapper, "scaled_global_norm", scaled_global_norm)
    replace_method(wrapper, "check_overflow", lambda partition_gradients=True: None)  # an invalid norm skips the step
    replace_method(wrapper, "unscale_and_clip_grads", lambda gradients, norm: None)


def _reduce_partitions(wrapper: DeepSpeedZeroOptimizer) -> None:
    """Reduce each rank's partition of the gradients in a flat tensor, which that rank keeps for the update.

    DeepSpeed itself copies each gradient into a bucket, the reduced bucket back, the gradients of its partition into
    another buffer, and these into a flat tensor.
    """
    require_known(DeepSpeedZeroOptimizer, "_get_preflattened_grad_partition")

    def reduce_gradients(pipeline_parallel: bool = False) -> None:
        groups = zip(wrapper.round_robin_bit16_groups, wrapper.round_robin_bit16_offsets, strict=True)
        for number, (parameters, offsets) in enumerate(groups):
            sizes, size = [p.numel() for p in parameters], int(wrapper.partition_size[number])
            gradients = [wrapper.get_gradient_for_reduction(p) for p in parameters]
            for owner in range(distributed.world_size()):
                flat = torch.empty(size, device=parameters[0].device)
                _lay_out(flat, fragments_of_partition(sizes, offsets, owner * size, size), gradients)
                distributed.reduce_sum_(flat, owner)
                if owner == distributed.rank():
                    wrapper.averaged_gradients[number] = GradPartitionBufferGroup([flat], flat)
        wrapper.zero_grad()
        wrapper._release_ipg_buffers()

    replace_method(wrapper, "reduce_gradients", torch.no_grad()(reduce_gradients))


def _lay_out(flat: Tensor, fragments: list[Fragment], gradients: list[Tensor | None]) -> None:
    """Fill a partition (n,) fp32 with the fragments of gradients in it; padding and missing gradients are 0."""
    position = 0
    for tensor, start, stop, offset in fragments:
        gradient = gradients[tensor]
        if gradient is None:
            start = stop
        else:
            flat[start:stop].copy_(gradient.detach().view(-1)[offset : offset + stop - start])
        flat[position:start].zero_()
        position = stop
    flat[position:].zero_()


def _parts(group: Any) -> list[Tensor]:
    """Return the gradients of a group's partition: one flat tensor where DeepSpeed has one, else a list of tensors."""
    flat = getattr(group, "flat_partition", None)
    return [*group] if flat is None else [flat]


def _add_into_flat_sums(engine: Any, wrapper: BF16_Optimizer) -> None:
    """Copy the first gradient of a step into the flat fp32 sums and add the others, and reduce the sums in place.

    DeepSpeed itself converts each gradient into an fp32 tensor and adds it to sums that it has set to zero twice, and
    reduces a concatenation of the sums on every rank, of which it copies the result back.
    """
    require_known(BF16_Optimizer, "accumulate_hp_grads_and_remove_lp")

    def update_hp_grad(low: nn.Parameter, group: int, index: int, clear_lp_grads: bool) -> None:
        if low.grad is None:
            return
        total, gradient = wrapper.fp32_groups_gradients[group][index], low.grad.detach().view(-1)
        if wrapper.fp32_groups_has_gradients[group][index]:
            total.add_(gradient)
        else:
            total.copy_(gradient)
        wrapper.fp32_groups_has_gradients[group][index] = True

    def reduce(grads: None = None, elements_per_buffer: int = 0) -> None:
        for sums, present in zip(wrapper.fp32_groups_gradients, wrapper.fp32_groups_has_gradients, strict=True):
            for total, has_gradient in zip(sums, present, strict=True):
                if not has_gradient:
                    total.zero_()
        for flat in wrapper.fp32_groups_gradients_flat:
            distributed.reduce_scatter_sum_(flat)

    def clear_hp_grads() -> None:
        for present in wrapper.fp32_groups_has_gradients:
            present[:] = [False] * len(present)

    replace_method(wrapper, "_update_hp_grad", torch.no_grad()(update_hp_grad))
    replace_method(wrapper, "clear_hp_grads", clear_hp_grads)
    _replace_reduction(engine, reduce)


def _update_flat_partitions(wrapper: BF16_Optimizer, optimizer: ShardedOptimizer) -> None:
    """Make a step of the optimizer's own norm and update, which writes the bf16 weights of this rank, and gather them.

    DeepSpeed itself takes the norm of all gradients on every rank, and copies the fp32 weights to bf16.
    """

    @torch.no_grad()
    def step(closure: None = None) -> None:
        partitions = zip(wrapper.fp32_groups_flat_partition, wrapper.fp32_groups_gradient_flat_partition, strict=True)
        for master, gradient in partitions:
            master.grad = gradient
        optimizer.step()
        wrapper.overflow = optimizer.overflow
        wrapper._global_grad_norm = float("inf") if optimizer.overflow else optimizer.grad_norm
        wrapper.clear_hp_grads()
        wrapper._lazy_init_hp_params_optimizer_state()  # for DeepSpeed's universal checkpoints
        if not optimizer.overflow:
            all_gather_dp_groups(
                groups_flat=wrapper.bf16_groups_flat,
                partitioned_param_groups=wrapper.bf16_partitioned_groups,
                dp_process_group=wrapper.real_dp_process_group,
                start_alignment_factor=wrapper.nccl_start_alignment_factor,
                allgather_bucket_size=wrapper.allgather_bucket_size,
            )

    replace_method(wrapper, "step", step)


def _update_whole_tensors(wrapper: FP16_UnfusedOptimizer, optimizer: ShardedOptimizer) -> None:
    """Make a step of the optimizer's own norm and update, which writes the bf16 weights.

    DeepSpeed itself takes amax, amin and norm of each gradient, multiplies it, and copies the fp32 weights to bf16.
    """
    for name in ("_skip_invalid_grad_norm", "_update_scale"):
        require_known(FP16_UnfusedOptimizer, name)
    groups = zip(wrapper.fp16_groups, wrapper.fp32_groups, strict=True)
    pairs = [pair for lows, masters in groups for pair in zip(lows, masters, strict=True)]
    copied = [pair for pair, shard in zip(pairs, optimizer.shards, strict=True) if shard.model is None]  # in fp16

    @torch.no_grad()
    def step(closure: None = None) -> bool:
        for low, master in pairs:  # the gradients of `low` are fp32 sums (`accumulation.sum_beside`)
            master.grad = torch.zeros_like(master) if low.grad is None else low.grad.float()
        optimizer.loss_scale = wrapper.loss_scale_config.cur_scale
        optimizer.step()
        wrapper.overflow = optimizer.overflow
        if wrapper.overflow:
            return bool(wrapper._skip_invalid_grad_norm())
        wrapper._global_grad_norm = optimizer.grad_norm
        wrapper._update_scale(False)
        for _, master in pairs:
            master.grad = None
        for low, master in copied:
            low.copy_(master)
        return False

    replace_method(wrapper, "step", step)


def _reduce_whole_gradients(engine: Any) -> None:
    """Reduce the gradients in concatenations of them, which then take their place; one rank reduces nothing.

    DeepSpeed itself copies the result back to where the gradients were, and does so on one rank too.
    """
    parameters = [parameter for parameter in engine.module.parameters() if parameter.requires_grad]

    def reduce(grads: None = None, elements_per_buffer: int = 500_000_000) -> None:
        for parameter in parameters:
            if parameter.grad is None:  # on other ranks there may be one
                parameter.grad = torch.zeros_like(parameter)
        if distributed.world_size() > 1:
            for bucket in _buckets(parameters, elements_per_buffer):
                flat = torch.cat([_gradient(parameter).detach().float().reshape(-1) for parameter in bucket])
                distributed.all_reduce_sum_(flat)
                for parameter, part in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
                    _gradient(parameter).data = part.view_as(parameter)

    _replace_reduction(engine, reduce)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None, "the reduction has set what was missing"
    return parameter.grad


def _buckets(parameters: list[nn.Parameter], most: int) -> list[list[nn.Parameter]]:
    """Return the parameters in order, in lists of at most `most` elements or of one parameter."""
    buckets: list[list[nn.Parameter]] = []
    size = most
    for parameter in parameters:
        if size + parameter.numel() > most:
            buckets.append([])
            size = 0
        buckets[-1].append(parameter)
        size += parameter.numel()
    return buckets


def _replace_reduction(engine: Any, reduce: Any) -> None:
    """Replace the reduction of gradients after a step's last micro-batch, at stage 0 and in bf16 at stage 1."""
    for name in ("allreduce_gradients", "_backward_epilogue", "_take_model_step"):
        require_known(type(engine), name)
    replace_method(engine, "buffered_allreduce_fallback", torch.no_grad()(reduce))
