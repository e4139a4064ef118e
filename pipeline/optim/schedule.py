"""Schedules of the learning rate and of weight averaging, which are pure functions of the step."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScheduleConfig:
    """Length of the run, warm-up, decay and averaging of the weights."""

    total_steps: int = 7038
    """Optimizer steps of the whole run; the decay ends here."""
    minutes: float = 0.0
    """Time budget of training in minutes; 0: total_steps is used. Otherwise the speed is measured before the first
    step, and total_steps, whose given value is ignored, is set so that steps and evaluations end after this time. A
    resumed run keeps that number."""
    warmup_proportion: float = 0.2843
    """Share of total_steps over which the learning rate increases linearly from 0 to the peak."""
    decay: Literal["polynomial", "linear", "cosine", "stable"] = "polynomial"
    """polynomial: (1 - step / total_steps) ** degree, from step 0, as NVIDIA and google-research/bert compute it;
    linear: linear decay from the peak at the end of warm-up to 0; cosine: half a cosine wave between the same points
    (Loshchilov & Hutter 2017); stable: the peak until the last decay_proportion of the steps, then a decay to 0
    (warmup-stable-decay; Hu et al. 2024, MiniCPM)."""
    degree: float = 0.5
    """Exponent of the polynomial decay."""
    decay_proportion: float = 0.2
    """Share of total_steps, at the end, over which the stable schedule decays."""
    decay_shape: Literal["linear", "sqrt"] = "linear"
    """Shape of the decay of the stable schedule, as a function of the completed share x of the decay: linear, 1 - x;
    sqrt, 1 - sqrt(x) (Hägele et al. 2024)."""
    floor: float = 0.0
    """Share of the peak learning rate at which every decay ends, instead of 0."""
    average_last: float = 0.0
    """Share of total_steps, at the end, over which the weights are averaged; 0: no average. Checkpoints contain the
    average beside the weights, it is evaluated after the last step, and `convert export --averaged true` writes it."""

    def __post_init__(self) -> None:
        if self.minutes < 0:
            raise ValueError(f"schedule.minutes = {self.minutes}: must be a number of minutes, or 0 for total_steps")
        if self.total_steps < (0 if self.minutes else 1):  # 0: not measured yet (`pipeline.jobs.budget`)
            raise ValueError(f"schedule.total_steps = {self.total_steps}: must be at least 1")
        if not 0 <= self.warmup_proportion < 1:
            raise ValueError(f"schedule.warmup_proportion = {self.warmup_proportion}: must be at least 0 and below 1")
        if self.degree <= 0:
            raise ValueError(f"schedule.degree = {self.degree}: must be positive")
        if not 0 < self.decay_proportion <= 1:
            raise ValueError(f"schedule.decay_proportion = {self.decay_proportion}: must be above 0 and at most 1")
        if self.decay == "stable" and self.warmup_proportion + self.decay_proportion > 1:
            raise ValueError(
                f"schedule.decay_proportion = {self.decay_proportion}: must be at most 1 - "
                f"schedule.warmup_proportion = {1 - self.warmup_proportion:g}; lower one of the two"
            )
        if not 0 <= self.floor <= 1:
            raise ValueError(f"schedule.floor = {self.floor}: must be a share of the peak rate, from 0 to 1")
        if not 0 <= self.average_last <= 1:
            raise ValueError(f"schedule.average_last = {self.average_last}: must be a share of the steps, from 0 to 1")


def learning_rate_factor(step: int, config: ScheduleConfig) -> float:
    """Factor of the peak learning rate for optimizer step `step`, counted from 1.

    During warm-up the factor is step / (number of warm-up steps). Afterwards it is floor + (1 - floor) d(p), where
    p = (step - 1) / total_steps is the share of the run before this step, and d(p) is the decay from 1 to 0. The factor
    of the last step (total_steps) is therefore slightly above the floor.
    """
    warmup_steps = config.warmup_proportion * config.total_steps
    if step <= warmup_steps:
        return step / warmup_steps
    progress = min((step - 1) / config.total_steps, 1.0)
    return config.floor + (1 - config.floor) * _decay(progress, config)


def _decay(progress: float, config: ScheduleConfig) -> float:
    """The decay d(p), from 1 to 0, after the share p = `progress` of the run."""
    if config.decay == "polynomial":
        return float((1 - progress) ** config.degree)
    if config.decay == "stable":
        share = max(0.0, progress - (1 - config.decay_proportion)) / config.decay_proportion
        return max(0.0, 1 - (math.sqrt(share) if config.decay_shape == "sqrt" else share))
    left = min((1 - progress) / (1 - config.warmup_proportion), 1.0)
    return left if config.decay == "linear" else (1 - math.cos(math.pi * left)) / 2


def steps_averaged(step: int, total_steps: int, average_last: float) -> int:
    """Number of steps whose weights are in the average after step `step`; 0 before the average begins.

    Args:
        step: optimizer step, counted from 1.
        total_steps: as in ScheduleConfig.
        average_last: as in ScheduleConfig; if it is above 0, at least the last step is averaged.
    """
    most = max(1, round(average_last * total_steps)) if average_last else 0
    return max(0, most - (total_steps - step))
