"""Gradients are sums in fp32, over micro-batches and over ranks, at every ZeRO stage and in every precision.

A gradient of one micro-batch is in the model's type. Added up in bf16, 128 of them lose 1 % of the global gradient, and
how much is lost depends on the number of ranks (`python -m benchmarks.accumulation`). Where DeepSpeed 0.19.8 adds:

| stage, precision | class | micro-batches are added in | ranks are added |
|---|---|---|---|
| 0, fp32 | none | `param.grad` | at the end of a step, all-reduce |
| 0, bf16 and fp16 | FP16_UnfusedOptimizer | an fp32 tensor beside `param.grad` | likewise |
| 1, bf16 | BF16_Optimizer | a flat fp32 buffer of all gradients, on every rank | likewise |
| 1, fp16 | DeepSpeedZeroOptimizer | `param.grad_accum`, whole and fp32 | likewise |
| 2 | DeepSpeedZeroOptimizer | the rank's own fp32 partition | with every micro-batch, all-reduce |
| 3 | DeepSpeedZeroOptimizer_Stage3 | the rank's own fp32 partition | with every micro-batch, reduce-scatter |

Ranks are added in fp32 too: NCCL's rings round a 16-bit sum at every rank. They are added, not averaged: a division by
three would round 16-bit gradients once more, and a loss that is scaled by the number of ranks makes fp16 overflow at
another number of ranks elsewhere.
"""

from typing import Any

from torch import Tensor

TYPE = "fp32"
"""Of all sums of gradients, as DeepSpeed names it."""


def with_fp32_sums(settings: dict[str, Any], stage: int, precision: str) -> dict[str, Any]:
    """The DeepSpeed JSON with the keys that make DeepSpeed add gradients in fp32.

    Args:
        settings: the JSON's content; `pipeline.engine.settings` has refused other values of these keys.
        stage: of ZeRO.
        precision: "fp32", "bf16" or "fp16".
    """
    settings = settings | {"communication_data_type": TYPE}
    if stage < 3:
        settings["gradient_allreduce_op"] = "sum"  # stage 3 has no such setting; see `sum_in_fp32`
    types = {key: value for key, value in settings.get("data_types", {}).items() if key != "grad_accum_dtype"}
    if precision != "fp32" and stage > 0:  # stage 0 knows no other type than the model's; see `sum_in_fp32`
        types["grad_accum_dtype"] = TYPE
    settings["data_types"] = types
    if precision == "bf16" and stage == 1:  # a 16-bit gradient is let go of as soon as it has been added
        settings["bf16"] = {"immediate_grad_update": True} | settings["bf16"]
    if settings.get("torch_autocast", {}).get("enabled"):  # the listed modules' gradients would be sent in 16 bits
        settings["torch_autocast"] = settings["torch_autocast"] | {"lower_precision_safe_modules": []}
    return settings


def sum_in_fp32(engine: Any, stage: int, precision: str) -> None:
    """What DeepSpeed has no setting for, after `deepspeed.initialize`.

    Args:
        engine: DeepSpeed's.
        stage: of ZeRO.
        precision: "fp32", "bf16" or "fp16".
    """
    if stage == 0 and precision != "fp32":
        sum_beside(engine)
    if stage == 3:
        # The number that a sum over the ranks is divided by to make it a mean.
        engine.optimizer._gradient_averaging_world_size = lambda parameters, ranks: 1


def sum_beside(engine: Any) -> None:
    """Stage 0 in 16 bits: add each parameter's gradients in a tensor of their own, which is `grad` in the end.

    Autograd would add them in `grad`, and DeepSpeed reduces and unscales what is there after the last micro-batch.
    """
    sums: dict[int, Tensor] = {}

    def add(parameter: Tensor) -> None:
        assert parameter.grad is not None, "autograd has just set it"
        total = sums.pop(id(parameter), None)
        total = parameter.grad.float() if total is None else total.add_(parameter.grad)
        if engine.is_gradient_accumulation_boundary():
            parameter.grad.data = total  # the one assignment that may change the type
        else:
            sums[id(parameter)], parameter.grad = total, None

    for parameter in engine.module.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(add)


def updates_all_at_once(stage: int, precision: str) -> bool:
    """Whether DeepSpeed gives all gradients to the optimizer in one call; it then leaves clipping to the optimizer.

    Elsewhere DeepSpeed clips: its norms at stages 2 and 3, and at stage 1 but in bf16, are float64, the others fp32.
    """
    return stage == 0 or (stage == 1 and precision == "bf16")
