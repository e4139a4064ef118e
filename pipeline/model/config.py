"""The fields of the recipe's section `[model]` that all families share."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from pipeline.kernels.config import FP8_MULTIPLE, AttentionBackend, Fp8, KernelBackend

Activation = Literal["gelu", "gelu_new"]
Initialization = Literal["normal", "positions"]
OutputBias = Literal["zero", "frequencies"]

_CHOICES = tuple(
    (name, get_args(kind))
    for name, kind in (
        ("hidden_act", Activation),
        ("initialization", Initialization),
        ("output_bias", OutputBias),
        ("attention", AttentionBackend),
        ("fp8", Fp8),
    )
)


@dataclass(frozen=True)
class EncoderConfig:
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    hidden_size: int
    """Width of the residual stream, in features."""
    num_hidden_layers: int
    """Number of transformer layers."""
    num_attention_heads: int
    """Number of attention heads; must divide hidden_size."""
    intermediate_size: int
    """Width of the feed-forward layer, in features."""
    max_position_embeddings: int = 512
    """Number of positions: the longest sequence in tokens, special tokens included."""
    hidden_act: Activation = "gelu"
    """Activation of the feed-forward layers and heads: gelu (exact) or gelu_new (tanh approximation)."""
    hidden_dropout_prob: float = 0.1
    """Probability of dropping an output of the embeddings or of a sub-layer, in [0, 1)."""
    attention_probs_dropout_prob: float = 0.1
    """Probability of dropping an attention probability, in [0, 1)."""
    layer_norm_eps: float = 1e-12
    """Number that layer normalisation adds to the variance."""
    initializer_range: float = 0.02
    """Standard deviation of the initial weights, before the cut at two standard deviations."""
    initialization: Initialization = "normal"
    """Initial weights: normal (as published), or positions, where heads of the first layers begin on neighbouring
    tokens, which shortens training many times (docs/initialization.md). The trained model is an ordinary one."""
    output_bias: OutputBias = "zero"
    """Initial bias of the logits: zero (as published), or the logarithm of the tokens' frequencies in the samples,
    which the model need not learn then."""
    activation_checkpointing: bool | int = False
    """Number of layers, from the first one, that keep only their input and recompute the rest in the backward pass,
    which saves memory and adds a third to their computation; true: all layers, false: none."""
    recompute_activation: bool = False
    """Keep only the input of each feed-forward layer's activation and recompute its output in the backward pass, which
    saves a quarter of the activations' memory."""
    max_logits_mib: int = 1024
    """Upper bound in MiB on the masked tokens' logits in memory at a time. Larger logits are computed in chunks, and
    recomputed in the backward pass."""
    z_loss: float = 0.0
    """Weight of the mean of (log Z)^2 over masked tokens, Z being the normaliser of their softmax, which is added to
    the loss that is minimised and keeps logits small (Chowdhery et al. 2022, PaLM: 1e-4). Reported losses do not
    contain it. 0: none."""
    kernels: KernelBackend = "auto"
    """Kernels: triton, plain (PyTorch), or auto, which is triton on CUDA and elsewhere plain, on a CPU with the cross
    entropy in C++. triton and plain draw different dropout masks."""
    attention: AttentionBackend = "auto"
    """Attention: triton (this project's kernels, reproducible bit for bit), varlen (PyTorch's FlashAttention, without
    attention dropout), flash_attn (the package), padded (on padded copies), plain (slow, for comparisons), or auto,
    which on CUDA is triton. Masks of dropout differ, but those of triton and plain are equal."""
    fp8: Fp8 = "none"
    """Products of the layers with factors in 8-bit floating point, except those of the gradients of weights: none,
    native (in a bf16 run on GPUs of compute capability 8.9 or higher), or emulated (on any device, slowly, for
    experiments)."""

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
        for name, values in _CHOICES:
            if getattr(self, name) not in values:
                raise ValueError(f"model.{name} = {getattr(self, name)}: must be one of {', '.join(values)}")
        if self.initialization == "positions" and self.hidden_size == self.num_attention_heads:
            raise ValueError(
                "model.initialization = positions: must have heads of at least two features, a cosine and a sine; "
                f"lower model.num_attention_heads = {self.num_attention_heads}, or set it to normal"
            )
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"model.{name} = {getattr(self, name)}: must be in [0, 1); 0 turns dropout off")
        if self.attention == "varlen" and self.attention_probs_dropout_prob > 0.0:
            raise ValueError(
                "model.attention = varlen: has no dropout on probabilities; set model.attention_probs_dropout_prob = "
                f"{self.attention_probs_dropout_prob} to 0, or model.attention to auto"
            )
        for name in ("hidden_size", "intermediate_size"):
            if self.fp8 != "none" and getattr(self, name) % FP8_MULTIPLE:
                raise ValueError(
                    f"model.{name} = {getattr(self, name)}: must be a multiple of {FP8_MULTIPLE} with model.fp8 = "
                    f"{self.fp8}; change it, or set model.fp8 to none"
                )
        if not 0 <= self.checkpointed_layers <= self.num_hidden_layers:
            raise ValueError(
                f"model.activation_checkpointing = {self.activation_checkpointing}: must be true, false or a number of "
                f"layers from 0 to model.num_hidden_layers = {self.num_hidden_layers}"
            )
        if self.z_loss < 0:
            raise ValueError(f"model.z_loss = {self.z_loss}: must be at least 0; 0 turns it off")
        for name in ("layer_norm_eps", "initializer_range"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"model.{name} = {getattr(self, name)}: must be greater than 0")

    @property
    def checkpointed_layers(self) -> int:
        """Number of layers that recompute their activations."""
        return self.num_hidden_layers if self.activation_checkpointing is True else int(self.activation_checkpointing)

    @property
    def embedding_width(self) -> int:
        """Width of the embeddings, in features."""
        return self.hidden_size

    @property
    def projects_embeddings(self) -> bool:
        """Whether a projection from embedding_width to hidden_size follows the embeddings."""
        return self.embedding_width != self.hidden_size

    @property
    def distinct_layers(self) -> int:
        """Number of layers with parameters of their own; the encoder repeats them in turn."""
        return self.num_hidden_layers

    @property
    def layer_step(self) -> int:
        """Number of layers that must be added for every part of the model to grow alike: 2 if a part has half as many,
        and the period of layers that differ in turn.
        """
        return 1

    @property
    def window(self) -> int | None:
        """Number of tokens on either side that a token attends to in layers with local attention; None: no layer has
        local attention.
        """
        return None

    @property
    def local_layers(self) -> int:
        """Number of layers with local attention."""
        return 0


@dataclass(frozen=True)
class RotaryConfig(EncoderConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    max_position_embeddings: int = 8192
    """Longest sequence in tokens, special tokens included. Rotary positions have no parameters, so that it only bounds
    the sequences."""
    hidden_dropout_prob: float = 0.0
    """Probability of dropping an output of the embeddings or of a feed-forward network, in [0, 1)."""
    attention_probs_dropout_prob: float = 0.0
    """Probability of dropping an attention probability, in [0, 1)."""
    attention_output_dropout_prob: float = 0.0
    """Probability of dropping an output of an attention, before its residual sum, in [0, 1)."""
    layer_norm_eps: float = 1e-5
    """Number that layer normalisation adds to the variance."""
    local_attention: int = 128
    """Width of the window of local attention, in tokens: a token attends to half as many tokens on either side."""
    global_attn_every_n_layers: int = 3
    """Period of the layers with global attention, which are the first one and every n-th one behind it; the others have
    local attention. 1: all layers have global attention."""
    global_rope_theta: float = 160_000.0
    """Base of the frequencies of the rotary positions in layers with global attention."""
    local_rope_theta: float = 10_000.0
    """Base of the frequencies of the rotary positions in layers with local attention."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size // self.num_attention_heads % 2:
            raise ValueError(
                f"model.num_attention_heads = {self.num_attention_heads}: heads must have an even number of features "
                f"for rotary positions, and model.hidden_size = {self.hidden_size} makes them "
                f"{self.hidden_size // self.num_attention_heads} wide; change one of the two"
            )
        if self.local_attention < 2:
            raise ValueError(f"model.local_attention = {self.local_attention}: must be at least 2 (ModernBERT: 128)")
        for name in ("global_rope_theta", "local_rope_theta"):
            if not getattr(self, name) > 1.0:
                raise ValueError(f"model.{name} = {getattr(self, name)}: must be above 1")
        if not 0.0 <= self.attention_output_dropout_prob < 1.0:
            raise ValueError(
                f"model.attention_output_dropout_prob = {self.attention_output_dropout_prob}: must be in [0, 1); 0 "
                "turns dropout off"
            )

    @property
    def layer_step(self) -> int:
        return self.global_attn_every_n_layers

    @property
    def window(self) -> int | None:
        return self.local_attention // 2 if self.local_layers else None

    @property
    def local_layers(self) -> int:
        return sum(map(self.is_local, range(self.num_hidden_layers)))

    def is_local(self, number: int) -> bool:
        """Whether the layer of a number, from 0, has local attention."""
        return number % self.global_attn_every_n_layers > 0


@dataclass(frozen=True)
class DisentangledConfig(EncoderConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    layer_norm_eps: float = 1e-7
    """Number that layer normalisation adds to the variance."""
    position_buckets: int = 256
    """Number of buckets of one sign into which the distances between tokens fall: up to half of it every distance has
    its own bucket, beyond it the buckets grow geometrically. The model has twice as many relative embeddings."""
    convolution: bool = False
    """Whether a convolution over three neighbouring tokens is added to the output of the first layer (DeBERTa-v2
    xlarge)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.position_buckets < 4:
            raise ValueError(f"model.position_buckets = {self.position_buckets}: must be at least 4; DeBERTa has 256")
        if self.attention in ("varlen", "flash_attn"):
            raise ValueError(
                f"model.attention = {self.attention}: has no scores of relative positions; use auto, triton, padded or "
                "plain"
            )
