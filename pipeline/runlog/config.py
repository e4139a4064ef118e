"""The recipe's section `[logging]`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LoggingConfig:
    """Metrics and other records of a run."""

    every: int = 10
    """Optimizer steps between lines of metrics.jsonl, averaged over them."""
    tensorboard: bool = True
    """Also write TensorBoard event files to the run's tensorboard/."""
    peak_tflops: float = 0.0
    """Peak of one device in TFLOP/s, for MFU; 0 takes it from a table of GPUs. What is not in it is measured when a run
    starts: the rate of large products in the run's precision, by every rank at once."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"logging.every = {self.every}: must be at least 1")
        if self.peak_tflops < 0:
            raise ValueError(f"logging.peak_tflops = {self.peak_tflops}: must be 0 (found out) or above")
