"""Replacement of methods of DeepSpeed's objects, for the version that this project was written against.

The methods are private, and another version of DeepSpeed may give them another meaning without an error. Each method
that is replaced, and each one whose calls the replacement relies on, is therefore compared with the text that it had.
"""

import hashlib
import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import deepspeed
from deepspeed.runtime.bf16_optimizer import BF16_Optimizer
from deepspeed.runtime.engine import DeepSpeedEngine
from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer
from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer

KNOWN: dict[tuple[type, str], str] = {
    (DeepSpeedEngine, "allreduce_gradients"): "89aab0f80f1a",
    (DeepSpeedEngine, "buffered_allreduce_fallback"): "c36145108c4f",
    (DeepSpeedEngine, "_backward_epilogue"): "5d52976af041",
    (DeepSpeedEngine, "_take_model_step"): "c4c6e01aa1fc",
    (BF16_Optimizer, "accumulate_hp_grads_and_remove_lp"): "4792e4da4c69",
    (BF16_Optimizer, "clear_hp_grads"): "82cb16a0c5b9",
    (BF16_Optimizer, "step"): "9b21d4a28f87",
    (BF16_Optimizer, "_update_hp_grad"): "026f6bb3edea",
    (FP16_UnfusedOptimizer, "step"): "626bd9aa8af8",
    (FP16_UnfusedOptimizer, "_skip_invalid_grad_norm"): "4d93702baa0d",
    (FP16_UnfusedOptimizer, "_update_scale"): "8a8f6f3f011b",
    (DeepSpeedZeroOptimizer, "check_overflow"): "623c2e9b3e44",
    (DeepSpeedZeroOptimizer, "_get_preflattened_grad_partition"): "5efe338fec79",
    (DeepSpeedZeroOptimizer, "reduce_gradients"): "385b8e94b1d3",
    (DeepSpeedZeroOptimizer, "scaled_global_norm"): "63c6a6fe100c",
    (DeepSpeedZeroOptimizer, "step"): "9520884fd916",
    (DeepSpeedZeroOptimizer, "unscale_and_clip_grads"): "6bf2ce6f97ea",
    (DeepSpeedZeroOptimizer_Stage3, "_gradient_averaging_world_size"): "0de1999fb735",
}
"""Class and name of a method -> the first digits of the SHA-256 of its source in deepspeed 0.19.8."""


def replace_method(owner: Any, name: str, function: Callable[..., Any]) -> None:
    """Replace a method of one object.

    Args:
        owner: the object; other objects of its class keep the method.
        name: name of the method, which `KNOWN` contains.
        function: takes the arguments of the method without `self`.

    Raises:
        ValueError: this version of DeepSpeed has another method of that name, or none.
    """
    require_known(type(owner), name)
    setattr(owner, name, function)


def require_known(kind: type, name: str) -> None:
    """Check that a method has the known source.

    Raises:
        ValueError: it has not.
    """
    method = inspect.unwrap(getattr(kind, name, None) or (lambda: None))
    if digest(method) != KNOWN[kind, name]:
        raise ValueError(
            f"deepspeed {deepspeed.__version__}: {kind.__name__}.{name} is not the method that this project was "
            "written against; install the version in requirements.txt"
        )


@cache
def digest(method: Callable[..., Any]) -> str:
    """Return the first digits of the SHA-256 of a function's source."""
    return hashlib.sha256(inspect.getsource(method).encode()).hexdigest()[:12]
