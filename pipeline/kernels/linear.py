"""A linear layer whose backward pass leaves sums over rows, and of gradients, to kernels that run anyway.

A linear layer y = x W^T + b needs one pass over the gradient of y that is not a product: the sum over the rows, which
is the gradient of b. Where x is also the residual of a sub-layer, autograd adds the two gradients of x, which reads
both and writes the sum. On CUDA neither is a pass of its own:

- The layer has a second output, the "port", an empty vector of the size of b. The operation that reads y takes the
  port as an input, and returns the sum over the rows as its gradient: its kernel has the gradient of y in registers.
- The layer has a third output, x itself, which the sub-layer uses as its residual. Its gradient is therefore complete
  before that of x is computed, and the product adds to it in place (`addmm_`), which reads it once more.

An output that is not used has no gradient. The layer then sums the rows itself, and the gradient of x is the product.

These are outputs and inputs of modules, and not one function for a whole sub-layer, because ZeRO stage 3 gathers the
parameters of a module when it runs: a module must not use those of another one.

With plain torch kernels there is no port, and autograd adds the gradients: a CPU run keeps its bits.

Shapes: T tokens, I inputs, O outputs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.kernels import backends
from pipeline.kernels.backends import Backend
from pipeline.kernels.config import Fp8
from pipeline.kernels.fp8 import forward_product, input_gradient


def new_port(bias: Tensor) -> Tensor:
    """A port for the gradient of a bias (O,): a tensor of its shape whose values are never read, without its memory."""
    return bias.new_empty(()).expand_as(bias)


class _Linear(torch.autograd.Function):
    """x W^T + b, the port of b, and x. The gradient of the last is overwritten; nobody may read it any more."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, fp8: Fp8, backend: Backend
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        ctx.fp8, ctx.backend, ctx.has_bias = fp8, backend, bias is not None
        return forward_product(x, weight, bias, fp8, backend), None if bias is None else new_port(bias), x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, grad: Tensor, bias_grad: Tensor | None, residual_grad: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if residual_grad is grad:  # from a normalisation without dropout that reads both outputs
            residual_grad = grad.clone()
        gradient = input_gradient(grad, weight, ctx.fp8, ctx.backend, residual_grad)
        bias_grad = grad.sum(0) if bias_grad is None and ctx.has_bias else bias_grad
        return gradient, grad.t() @ x.to(grad.dtype), bias_grad, None, None


class Linear(nn.Linear):
    """A linear layer with a port.

    Args:
        inputs, outputs: I and O.
        fp8: type of the factors of the products.
        backend: plain torch or Triton. The operations that read the outputs must have the same value.
        ported: give out the port with plain torch as well, for a layer behind it that recomputes the GELU.
        bias: whether there is one. Without one there is no port.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        fp8: Fp8 = "none",
        backend: Backend = "auto",
        ported: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__(inputs, outputs, bias)
        self.fp8, self.backend, self.ported = fp8, backend, ported

    def fused(self, x: Tensor) -> bool:
        """Whether Triton kernels read the outputs, so that they use the port, and own the gradient of the residual."""
        return backends.triton_kernels("residual_norm", self.backend, x.device.type) is not None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:  # type: ignore[override]
        """Map x (T, I) to the product (T, O), the port (O,) or None, and x, to be used as the residual.

        Raises:
            ValueError: FP8 or the backend cannot run here.
        """
        fused = self.fused(x)
        if not fused and not self.ported and self.fp8 == "none":
            return functional.linear(x, self.weight, self.bias), None, x
        product, port, residual = _Linear.apply(x, self.weight, self.bias, self.fp8, self.backend)
        return product, port if fused or self.ported else None, residual if fused else x
