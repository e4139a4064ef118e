"""The recipe's section `[model]`, as far as the families share it."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from pipeline.kernels.config import KernelBackend

Activation = Literal["gelu", "gelu_new"]


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
                raise ValueError(f"model.{field.name} = {value}: must be at least 1")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"model.hidden_size = {self.hidden_size}: must be a multiple of model.num_attention_heads = "
                f"{self.num_attention_heads}; change one of the two"
            )
        if self.hidden_act not in get_args(Activation):
            raise ValueError(f"model.hidden_act = {self.hidden_act}: must be one of {', '.join(get_args(Activation))}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"model.{name} = {getattr(self, name)}: must be in [0, 1); 0 turns it off")
        if not 0 <= self.checkpointed_layers <= self.num_hidden_layers:
            raise ValueError(
                f"model.activation_checkpointing = {self.activation_checkpointing}: must be true, false or a number of "
                f"layers from 0 to model.num_hidden_layers = {self.num_hidden_layers}"
            )
        for name in ("layer_norm_eps", "initializer_range"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"model.{name} = {getattr(self, name)}: must be greater than 0")

    @property
    def checkpointed_layers(self) -> int:
        """How many layers recompute their activations."""
        return self.num_hidden_layers if self.activation_checkpointing is True else int(self.activation_checkpointing)
