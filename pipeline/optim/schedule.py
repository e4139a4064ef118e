"""Learning-rate schedules: pure functions from the step to a factor of the peak rate."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScheduleConfig:
    """Length of the run, warm-up and decay."""

    total_steps: int = 7038
    """Optimizer steps of the whole run; the decay ends here."""
    warmup_proportion: float = 0.2843
    """Share of total_steps over which the rate rises linearly from 0 to the peak."""
    decay: Literal["polynomial", "linear"] = "polynomial"
    """polynomial: (1 - step / total_steps) ** degree, measured from step 0 (NVIDIA, google-research/bert);
    linear: a straight line from the peak at the end of warm-up to 0."""
    degree: float = 0.5
    """Exponent of the polynomial decay."""

    def __post_init__(self) -> None:
        if self.total_steps < 1:
            raise ValueError(f"schedule.total_steps = {self.total_steps}: must be at least 1")
        if not 0 <= self.warmup_proportion < 1:
            raise ValueError(f"schedule.warmup_proportion = {self.warmup_proportion}: must be at least 0 and below 1")
        if self.degree <= 0:
            raise ValueError(f"schedule.degree = {self.degree}: must be positive")


def learning_rate_factor(step: int, config: ScheduleConfig) -> float:
    """Factor of the peak learning rate for optimizer step `step`, counted from 1.

    The first step takes 1 / warm-up steps of the peak, the last step (total_steps) the rate just above 0: with p the
    share of the run before this step, (step - 1) / total_steps, the decay is (1 - p) ** degree.
    """
    progress = min((step - 1) / config.total_steps, 1.0)
    warmup_steps = config.warmup_proportion * config.total_steps
    if step <= warmup_steps:
        return step / warmup_steps
    if config.decay == "linear":
        return min((1 - progress) / (1 - config.warmup_proportion), 1.0)
    return (1 - progress) ** config.degree
