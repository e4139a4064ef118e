"""LayerNorm(residual + dropout(x)), the operation after the attention and after the feed-forward network of a layer.

On CUDA one kernel reads x and the residual and writes the normalised sum. The backward pass computes the sum again from
x and the residual instead of saving it. This accesses as many tensors as saving the sum does, 8 of (T, H) in both
passes, where separate operations access 14, and a mask twice. It needs no more memory either: x is saved in place of
the sum, and the residual is the input of an earlier product, which saves it anyway. The sum is therefore never rounded
to 16 bits, and the mask, a function of a seed, is never stored. Saving the output only and inverting the normalisation
would free x as well, but it divides by a weight that may be 0, and amplifies rounding errors where the bias is large.

The bias of the product before it is not added here: cuBLAS adds it to the product at no cost, and under ZeRO stage 3 a
module cannot use the bias of another one. Its gradient, the sum over the rows of the gradient of x, is computed here,
and goes to the product through a port.

Shapes: T tokens, H features.
"""

from torch import Tensor, nn

from pipeline.kernels import backends
from pipeline.kernels.backends import Backend
from pipeline.kernels.dropout import dropout
from pipeline.kernels.rows import layer_norm


def residual_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    dropout_p: float = 0.0,
    backend: Backend = "auto",
    seed: Tensor | None = None,
    port: Tensor | None = None,
) -> Tensor:
    """The sum of `residual` and of `x` after dropout, normalised over the features.

    Args:
        x: (T, H), to which dropout is applied.
        residual: (T, H).
        weight, bias: (H,).
        eps: added to the variance.
        dropout_p: dropout probability, in [0, 1); pass 0 outside training. The kernel rounds it to a multiple of
            1/65536 as `dropout` does on a CPU.
        backend: plain torch or Triton.
        seed: () int64 on the device, of the kernel's mask; None: drawn from the default generator of the device. Plain
            torch draws its mask from the generator.
        port: (H,) port of the linear layer that computed x (`pipeline.kernels.linear`), whose gradient is the sum of
            the rows of x's gradient; None: there is none. Plain torch does not use it.

    Returns:
        (T, H), in the type of the output of layer normalisation.

    Raises:
        ValueError: the backend is `triton`, which cannot run here.
    """
    fused = backends.triton_kernels("residual_norm", backend, x.device.type)
    if fused is not None:
        out: Tensor = fused.ResidualNorm.apply(x, residual, weight, bias, eps, dropout_p, seed, port)
        return out
    return layer_norm(residual + dropout(x, dropout_p), weight, bias, eps)


class ResidualNorm(nn.LayerNorm):
    """`residual_norm` as a module; dropout is active in training mode only."""

    def __init__(self, width: int, eps: float, dropout_p: float, backend: Backend = "auto") -> None:
        super().__init__(width, eps)
        self.dropout_p = dropout_p
        self.backend = backend

    def forward(  # type: ignore[override]
        self, x: Tensor, residual: Tensor, seed: Tensor | None = None, port: Tensor | None = None
    ) -> Tensor:
        dropout_p = self.dropout_p if self.training else 0.0
        return residual_norm(x, residual, self.weight, self.bias, self.eps, dropout_p, self.backend, seed, port)
