"""The recipe's section `[engine]`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EngineConfig:
    """How DeepSpeed runs the model."""

    deepspeed: str = "ds_configs/zero2_{precision}.json"
    """DeepSpeed JSON: a path, or one that comes with the package, ds_configs/NAME.json; `{precision}` is filled in."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Which JSON is taken for `{precision}`; auto is bf16 where the device computes it natively, else fp32."""
    tf32: bool = False
    """In fp32: products read their factors in TensorFloat-32 (10 bits of mantissa), on devices that have it."""
    timeout_minutes: float = 30
    """Minutes without progress after which a rank writes the stacks of its threads to its log and ends; a collective
    waits a minute longer for the other ranks."""
    max_skipped_steps: int = 20
    """Steps in a row with infinite or NaN gradients that end the run; they are skipped, as fp16's loss scaling needs.
    """

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
