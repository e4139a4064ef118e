"""The sections of a recipe: one dataclass for each part of the training, whose fields the command line shows.

Nothing is imported here that computes (torch, DeepSpeed, Arrow), so that a command line is read, and its help shown,
without them. Each part takes its own section; `[schedule]` is in `pipeline.optim.schedule`, `[model]` in the family's.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

Activation = Literal["gelu", "gelu_new"]
KernelBackend = Literal["auto", "plain", "triton"]
LambBackend = Literal["auto", "plain", "cpu", "cuda", "apex"]


@dataclass(frozen=True)
class DataConfig:
    """Where the samples are and who reads them."""

    samples: Path
    """Directory that `python -m preprocessing` wrote: shards, manifest, tokenizer."""
    num_workers: int = 2
    """Worker processes per rank that build batches; 0 builds them in the training process."""
    prefetch: int = 4
    """Micro-batches that each worker keeps ready."""
    token_multiple: int = 1
    """Tokens of a micro-batch are rounded up to a multiple of this by a tail that nothing is learnt from: where kernels
    are compiled for a shape, they then meet few shapes. 1: no tail."""

    def __post_init__(self) -> None:
        if self.num_workers < 0:
            raise ValueError(f"num_workers is {self.num_workers}; it must be 0 or more")
        if self.prefetch < 1:
            raise ValueError(f"prefetch is {self.prefetch}; it must be at least 1")
        if self.token_multiple < 1:
            raise ValueError(f"token_multiple is {self.token_multiple}; it must be at least 1, which adds no tail")


@dataclass(frozen=True)
class MaskingConfig:
    """How many tokens are masked, in which units, and how often the masks change."""

    probability: float = 0.15
    """Share of a sample's tokens, special tokens counted, that are masked; above 0, at most 0.5."""
    max_predictions: int = 20
    """Upper bound on the masked tokens of a sample (BERT: 20 at 128 tokens, about 80 at 512)."""
    whole_word: bool = False
    """Mask all pieces of a word together."""
    duplicates: int = 0
    """Static masking: number of fixed masks that the epochs take in turn; 0 draws new masks in every epoch."""

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 0.5:
            raise ValueError(f"probability is {self.probability}; it must be above 0 and at most 0.5 (BERT: 0.15)")
        if self.max_predictions < 1:
            raise ValueError(f"max_predictions is {self.max_predictions}; it must be at least 1 (BERT: 20)")
        if self.duplicates < 0:
            raise ValueError(f"duplicates is {self.duplicates}; it must be 0 (dynamic masking) or a number of masks")


@dataclass(frozen=True)
class EncoderConfig:
    """Shape and regularisation of the encoder. The vocabulary's size is no field: it comes with the data."""

    hidden_size: int
    """Width of the residual stream, in features."""
    num_hidden_layers: int
    """Number of transformer layers."""
    num_attention_heads: int
    """Number of attention heads; must divide hidden_size."""
    intermediate_size: int
    """Width of the feed-forward layer, in features."""
    max_position_embeddings: int = 512
    """Longest sequence the model can read, in tokens, special tokens included."""
    type_vocab_size: int = 2
    """Number of segment embeddings: one for A, one for B."""
    hidden_act: Activation = "gelu"
    """Activation of the feed-forward layers and heads: gelu (exact) or gelu_new (tanh approximation)."""
    hidden_dropout_prob: float = 0.1
    """Probability of dropping an output of the embeddings or of a sub-layer, in [0, 1)."""
    attention_probs_dropout_prob: float = 0.1
    """Probability of dropping an attention probability, in [0, 1). Only 0 allows the fastest attention on a GPU."""
    layer_norm_eps: float = 1e-12
    """Added to the variance in layer normalisation."""
    initializer_range: float = 0.02
    """Standard deviation of the initial weights, before the cut at two standard deviations."""
    activation_checkpointing: bool | int = False
    """Layers, from the first, that keep only their input and recompute the rest in the backward pass: less memory, a
    third more compute in each; true: all layers, false: none."""
    recompute_activation: bool = False
    """Keep only the input of each feed-forward layer's activation and compute its output again in the backward pass: a
    quarter less activation memory for one cheap pass."""
    max_logits_mib: int = 1024
    """Most MiB that the masked tokens' logits may take at a time; where they need more, they are computed in chunks,
    and once more in the backward pass."""
    kernels: KernelBackend = "auto"
    """auto: Triton kernels on CUDA, plain torch elsewhere; plain or triton: that one. Dropout masks differ."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and value < 1:
                raise ValueError(f"{field.name}={value} must be at least 1")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of num_attention_heads={self.num_attention_heads}: "
                "change one of the two"
            )
        if self.hidden_act not in get_args(Activation):
            raise ValueError(
                f"hidden_act={self.hidden_act!r} is unknown: choose one of {', '.join(get_args(Activation))}"
            )
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name}={getattr(self, name)} must be a probability in [0, 1): 0 turns it off")
        if not 0 <= self.checkpointed_layers <= self.num_hidden_layers:
            raise ValueError(
                f"activation_checkpointing={self.activation_checkpointing} must be true, false or a number of layers "
                f"from 0 to num_hidden_layers={self.num_hidden_layers}"
            )
        for name in ("layer_norm_eps", "initializer_range"):
            if getattr(self, name) <= 0.0:
                raise ValueError(f"{name}={getattr(self, name)} must be greater than 0")

    @property
    def checkpointed_layers(self) -> int:
        """How many layers recompute their activations."""
        return self.num_hidden_layers if self.activation_checkpointing is True else int(self.activation_checkpointing)


@dataclass(frozen=True)
class OptimizerConfig:
    """LAMB or AdamW, and gradient clipping."""

    name: Literal["lamb", "adamw"] = "lamb"
    """lamb scales each tensor's step by its trust ratio, for large batches; adamw does not."""
    lr: float = 6e-3
    """Peak learning rate, reached at the end of warm-up."""
    beta1: float = 0.9
    """Decay of the first moment, per step."""
    beta2: float = 0.999
    """Decay of the second moment, per step."""
    eps: float = 1e-6
    """Added to the root of the second moment."""
    weight_decay: float = 0.01
    """Decoupled weight decay; biases and LayerNorm take none."""
    bias_correction: bool = True
    """Whether moments are divided by 1 - beta**step; google-research's optimizers do not."""
    max_grad_norm: float = 1.0
    """Global gradient norm above which gradients are scaled down; 0 turns clipping off."""
    variant: Literal["nvlamb", "paper"] = "nvlamb"
    """Which tensors take a trust ratio: those with weight decay (NVIDIA apex) or all outside the exclusion list."""
    backend: LambBackend = "auto"
    """Who computes the update: auto (the device's fused kernel), plain torch, cpu (C++), cuda (Triton), NVIDIA apex."""

    def __post_init__(self) -> None:
        for name, high in (
            ("lr", None),
            ("beta1", 1.0),
            ("beta2", 1.0),
            ("eps", None),
            ("weight_decay", None),
            ("max_grad_norm", None),
        ):
            value = getattr(self, name)
            if not value >= 0 or (high is not None and value >= high):
                bound = "at least 0" + (f" and below {high:g}" if high is not None else "")
                raise ValueError(f"optimizer.{name} = {value}: must be {bound}")
        if self.name == "adamw" and self.variant != "nvlamb":
            raise ValueError(f"optimizer.variant = {self.variant}: a variant of lamb, but optimizer.name is adamw")


@dataclass(frozen=True)
class EngineConfig:
    """How DeepSpeed runs the model."""

    deepspeed: str = "ds_configs/zero2_{precision}.json"
    """DeepSpeed JSON, relative to the working directory or the repository; `{precision}` is filled in."""
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


@dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written and how many stay."""

    every: int = 200
    """Optimizer steps between checkpoints; the last step always writes one."""
    keep: int = 3
    """Newest checkpoints that stay; older ones are deleted."""
    keep_every: int = 0
    """Checkpoints of steps that are a multiple of this stay for good; 0: none."""

    def __post_init__(self) -> None:
        if self.keep_every < 0:
            raise ValueError(f"checkpoint.keep_every = {self.keep_every}: must be 0 (none) or a number of steps")
        for name in ("every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"checkpoint.{name} = {getattr(self, name)}: must be at least 1")


@dataclass(frozen=True)
class LoggingConfig:
    """What is written while training."""

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
