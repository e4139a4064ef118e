"""The recipe's section `[checkpoint]`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckpointConfig:
    """Intervals of checkpoints, and how many are kept."""

    every: int = 200
    """Optimizer steps between checkpoints; the last step always writes one."""
    keep: int = 3
    """Number of newest checkpoints that are kept; older ones are deleted."""
    keep_every: int = 0
    """Checkpoints of steps that are a multiple of this are never deleted; 0: none."""

    def __post_init__(self) -> None:
        if self.keep_every < 0:
            raise ValueError(f"checkpoint.keep_every = {self.keep_every}: must be 0 (none) or a number of steps")
        for name in ("every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"checkpoint.{name} = {getattr(self, name)}: must be at least 1")
