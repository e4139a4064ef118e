"""The recipe's section `[optimizer]`."""

from dataclasses import dataclass
from typing import Literal

from pipeline.kernels.config import LambBackend


@dataclass(frozen=True)
class OptimizerConfig:
    """LAMB, AdamW or Muon, and gradient clipping."""

    name: Literal["lamb", "adamw", "muon"] = "lamb"
    """lamb scales the step of each tensor by its trust ratio, for large batches; adamw does not; muon orthogonalises
    the steps of the matrices in the layers, and updates all other tensors as adamw does."""
    lr: float = 6e-3
    """Peak learning rate, reached at the end of warm-up."""
    beta1: float = 0.9
    """Decay of the first moment, per step."""
    beta2: float = 0.999
    """Decay of the second moment, per step."""
    eps: float = 1e-6
    """Term added to the square root of the second moment."""
    momentum: float = 0.95
    """muon: decay of the momentum of the matrices in the layers, per step."""
    adam_lr_factor: float = 1.0
    """lamb and muon: factor of the learning rate for tensors with AdamW steps, which are those without a trust ratio
    (biases and LayerNorm) in lamb, and all but the matrices in the layers in muon."""
    weight_decay: float = 0.01
    """Decoupled weight decay, which is not applied to biases and LayerNorm."""
    bias_correction: bool = True
    """Whether moments are divided by 1 - beta**step; the optimizers of google-research do not divide them."""
    max_grad_norm: float = 1.0
    """Global gradient norm above which gradients are scaled down; 0 disables clipping."""
    variant: Literal["nvidia", "paper"] = "nvidia"
    """lamb: which tensors have a trust ratio: nvidia, those with weight decay (as in NVIDIA apex); paper, all outside
    the exclusion list."""
    backend: LambBackend = "auto"
    """Implementation of the update: auto (the device's fused kernel), plain (torch), cpu (C++), cuda (Triton), or apex
    (NVIDIA)."""

    def __post_init__(self) -> None:
        for name, high in (
            ("lr", None),
            ("beta1", 1.0),
            ("beta2", 1.0),
            ("eps", None),
            ("momentum", 1.0),
            ("adam_lr_factor", None),
            ("weight_decay", None),
            ("max_grad_norm", None),
        ):
            value = getattr(self, name)
            if not value >= 0 or (high is not None and value >= high):
                bound = "at least 0" + (f" and below {high:g}" if high is not None else "")
                raise ValueError(f"optimizer.{name} = {value}: must be {bound}")
        if self.name != "lamb" and self.variant != "nvidia":
            raise ValueError(
                f"optimizer.variant = {self.variant}: a variant of lamb, but optimizer.name is {self.name}; remove it"
            )
        for name, default, owners in (("adam_lr_factor", 1.0, ("lamb", "muon")), ("momentum", 0.95, ("muon",))):
            if getattr(self, name) != default and self.name not in owners:
                raise ValueError(
                    f"optimizer.{name} = {getattr(self, name)}: a setting of {' and '.join(owners)}, but "
                    f"optimizer.name is {self.name}; remove it"
                )
