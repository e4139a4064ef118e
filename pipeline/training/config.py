"""The recipe's section `[evaluation]`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluationConfig:
    """Held-out evaluation: fixed masks, the same samples every time and at every world size."""

    every: int = 200
    """Optimizer steps between evaluations; also before the first step and after the last. 0: never."""
    samples: int = 10000
    """Held-out samples, from the start of the held-out split; fewer if it has fewer."""

    def __post_init__(self) -> None:
        for name, least in (("every", 0), ("samples", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"evaluation.{name} = {getattr(self, name)}: must be at least {least}")
