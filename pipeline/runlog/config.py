"""The recipe's section `[logging]`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LoggingConfig:
    """Metrics and other records of a run."""

    every: int = 10
    """Optimizer steps between two lines of metrics.jsonl; each line is an average over these steps."""
    tensorboard: bool = True
    """Also write TensorBoard event files to the run's directory tensorboard/."""
    peak_tflops: float = 0.0
    """Peak of one device in TFLOP/s, for MFU; 0 takes it from a table of GPUs. For a device that is not in the table
    all ranks measure the rate of large matrix products in the run's precision when the run starts."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"logging.every = {self.every}: must be at least 1")
        if self.peak_tflops < 0:
            raise ValueError(f"logging.peak_tflops = {self.peak_tflops}: must be at least 0; 0 determines the peak")
