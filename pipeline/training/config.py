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
    order_gap_samples: int = 128
    """Number of held-out samples to measure the order gap on: the masked-token loss with the visible words of each
    sample in random order, minus that in their order. It takes two further passes over these samples. 0: it is not
    measured."""

    def __post_init__(self) -> None:
        for name, least in (("every", 0), ("samples", 1), ("order_gap_samples", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"evaluation.{name} = {getattr(self, name)}: must be at least {least}")
