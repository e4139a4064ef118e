"""Accumulation of gradients in fp32, over micro-batches and ranks, at every ZeRO stage and in every precision.

The gradient of one micro-batch has the model's type. A sum of 128 of them in bf16 deviates by 1 % from the global
gradient, and the deviation depends on the number of ranks (`python -m benchmarks.accumulation`). DeepSpeed 0.19.8 adds
gradients as follows:

| stage, precision | class | micro-batches are added in | ranks are added |
|---|---|---|---|
| 0, fp32 | none | `param.grad` | at the end of a step, all-reduce |
| 0, bf16 and fp16 | FP16_UnfusedOptimizer | an fp32 tensor beside `param.grad` | likewise |
| 1, bf16 | BF16_Optimizer | a flat fp32 buffer of all gradients, on every rank | at the end of a step, reduce-scatter |
| 1, fp16 | DeepSpeedZeroOptimizer | `param.grad_accum`, whole and fp32 | likewise |
| 2 | DeepSpeedZeroOptimizer | the rank's own fp32 partition | with every micro-batch, all-reduce |
| 3 | DeepSpeedZeroOptimizer_Stage3 | the rank's own fp32 partition | with every micro-batch, reduce-scatter |

Sums over ranks are in fp32 too, because NCCL's rings round a 16-bit sum at every rank. They are sums and not averages,
because dividing by the number of ranks would round 16-bit gradients once more, and scaling the loss by it would make
overflows of fp16 depend on it.
"""

from typing import Any

from torch import Tensor

TYPE = "fp32"
"""Type of all sums of gradients, by DeepSpeed's name."""


def with_fp32_sums(settings: dict[str, Any], stage: int, precision: str) -> dict[str, Any]:
    """Return the DeepSpeed JSON with the keys that make DeepSpeed add gradients in fp32.

    Args:
        settings: content of the JSON; `pipeline.engine.settings` has rejected other values of these keys.
        stage: ZeRO stage.
        precision: "fp32", "bf16" or "fp16".
    """
    settings = settings | {"communication_data_type": TYPE}
    if stage < 3:
        settings["gradient_allreduce_op"] = "sum"  # stage 3 has no such setting; see `sum_in_fp32`
    types = {key: value for key, value in settings.get("data_types", {}).items() if key != "grad_accum_dtype"}
    if precision != "fp32" and stage > 0:  # stage 0 supports only the model's type; see `sum_in_fp32`
        types["grad_accum_dtype"] = TYPE
    settings["data_types"] = types
    if precision == "bf16" and stage == 1:  # frees each 16-bit gradient as soon as it has been added
        settings["bf16"] = {"immediate_grad_update": True} | settings["bf16"]
    if settings.get("torch_autocast", {}).get("enabled"):  # gradients of the listed modules would be sent in 16 bits
        settings["torch_autocast"] = settings["torch_autocast"] | {"lower_precision_safe_modules": []}
    return settings


def sum_in_fp32(engine: Any, stage: int, precision: str) -> None:
    """Change an engine so that it adds gradients in fp32, where DeepSpeed has no setting for it.

    Args:
        engine: the engine returned by `deepspeed.initialize`.
        stage: ZeRO stage.
        precision: "fp32", "bf16" or "fp16".
    """
    if stage == 0 and precision != "fp32":
        sum_beside(engine)
    if stage == 3:
        # Imported here because the planner reads this module, and DeepSpeed takes seconds to import.
        from pipeline.engine.replacing import replace_method

        # DeepSpeed divides the sum over the ranks by this number.
        replace_method(engine.optimizer, "_gradient_averaging_world_size", lambda parameters, ranks: 1)


def sum_beside(engine: Any) -> None:
    """Add each parameter's gradients in a separate fp32 tensor, which replaces `grad` after the last micro-batch.

    For stage 0 in 16 bits: autograd would add them in `grad`, which DeepSpeed reduces and unscales after the last
    micro-batch.
    """
    sums: dict[int, Tensor] = {}

    def add(parameter: Tensor) -> None:
        assert parameter.grad is not None, "autograd has just set it"
        total = sums.pop(id(parameter), None)
        total = parameter.grad.float() if total is None else total.add_(parameter.grad)
        if engine.is_gradient_accumulation_boundary():
            parameter.grad.data = total  # the only assignment that may change the type
        else:
            sums[id(parameter)], parameter.grad = total, None

    for parameter in engine.module.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(add)


def has_flat_sums(stage: int, precision: str) -> bool:
    """Return whether the sums of gradients are flat fp32 buffers, which are reduced and scattered at the end of a step.

    They are in DeepSpeed's BF16_Optimizer (`pipeline.engine.passes`).
    """
    return stage == 1 and precision == "bf16"


def updates_all_at_once(stage: int, precision: str) -> bool:
    """Return whether DeepSpeed passes all gradients to the optimizer in one call, which then measures and clips them.

    At stage 2, and at stage 1 except in bf16, it passes one group at a time, and `pipeline.engine.passes` lets the
    optimizer measure all groups before. At stage 3 DeepSpeed clips, by norms in float64.
    """
    return stage == 0 or has_flat_sums(stage, precision)
