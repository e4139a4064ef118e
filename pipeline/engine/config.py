"""The recipe's section `[engine]`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EngineConfig:
    """Distribution and precision of training with DeepSpeed, and limits that end a run."""

    deepspeed: str = "ds_configs/zero2_{precision}.json"
    """DeepSpeed JSON: a path, or ds_configs/NAME.json of the package; `{precision}` is replaced."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Replacement of `{precision}`; auto is bf16 if the device computes it natively, else fp32."""
    tf32: bool = False
    """Whether matrix products in fp32 round their factors to TensorFloat-32 (10 bits of mantissa), on devices that
    support it."""
    cuda_graphs: bool = False
    """Whether the forward and backward pass of a micro-batch are launched as one CUDA graph, which spares the host the
    launches of their kernels. Requires data.fixed_shapes; where it cannot be used, the log says why."""
    timeout_minutes: float = 30
    """Minutes without progress after which a rank writes the stacks of its threads to its log and ends. The timeout of
    collectives is one minute longer."""
    max_skipped_steps: int = 20
    """Number of steps in a row with infinite or NaN gradients that ends the run. Such steps are skipped, as fp16's loss
    scaling requires."""

    def __post_init__(self) -> None:
        if "{precision}" not in self.deepspeed and self.precision != "auto":
            raise ValueError(
                f"engine.precision = {self.precision}, but engine.deepspeed = {self.deepspeed} has no {{precision}} "
                "to fill in; the JSON already says the precision: drop one of the two"
            )
        if self.timeout_minutes <= 0:
            raise ValueError(f"engine.timeout_minutes = {self.timeout_minutes}: must be above 0")
        if self.max_skipped_steps < 1:
            raise ValueError(f"engine.max_skipped_steps = {self.max_skipped_steps}: must be at least 1")
