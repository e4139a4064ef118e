"""The recipe's section `[evaluation]`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation on held-out samples, which has the same samples and masks every time and at every world size."""

    every: int = 200
    """Optimizer steps between evaluations; the model is also evaluated before the first step and after the last one. 0:
    it is never evaluated."""
    samples: int = 10000
    """Number of held-out samples to evaluate on; all of the split if it has fewer."""

    def __post_init__(self) -> None:
        for name, least in (("every", 0), ("samples", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"evaluation.{name} = {getattr(self, name)}: must be at least {least}")
