"""LayerNorm(residual + dropout(x)), the operation after each half of a layer.

On CUDA one kernel reads x and the residual and writes the normalised sum. Its backward pass needs the sum again; it
computes it from x and the residual instead of keeping it. That moves as many bytes as keeping it, 8 tensors of (T, H)
forward and backward, where separate operations move 14, and a mask twice. It takes no more memory either: x is kept in
place of the sum, and the residual is the input of an earlier product, which keeps it anyway. The sum is thus never
rounded to 16 bits, and the mask is never stored: it is a function of a seed. To keep only the output and undo the
normalisation would save x too, but divides by a weight that may be 0, and magnifies rounding where the bias is large.

The bias of the product before it is not added here: cuBLAS adds it to the product for nothing, and a module that takes
another's bias breaks under ZeRO 3.

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
) -> Tensor:
    """The sum of `residual` and of `x` after dropout, normalised over the features.

    Args:
        x: (T, H), dropped with probability `dropout_p`; the kernel rounds that to a multiple of 1/65536 as `dropout`
            does on a CPU, and draws its seed from the device's default generator.
        residual: (T, H).
        weight, bias: (H,).
        eps: added to the variance.
        dropout_p: in [0, 1); pass 0 outside training.
        backend: plain torch or Triton.

    Returns:
        (T, H), in the type of layer normalisation's output.
    """
    fused = backends.triton_kernels("residual_norm", backend, x.device.type)
    if fused is not None:
        out: Tensor = fused.ResidualNorm.apply(x, residual, weight, bias, eps, dropout_p)
        return out
    return layer_norm(residual + dropout(x, dropout_p), weight, bias, eps)


class ResidualNorm(nn.LayerNorm):
    """`residual_norm` as a module: dropout acts in training mode only."""

    def __init__(self, width: int, eps: float, dropout_p: float, backend: Backend = "auto") -> None:
        super().__init__(width, eps)
        self.dropout_p = dropout_p
        self.backend = backend

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:  # type: ignore[override]
        dropout_p = self.dropout_p if self.training else 0.0
        return residual_norm(x, residual, self.weight, self.bias, self.eps, dropout_p, self.backend)
