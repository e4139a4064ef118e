"""The two products of a feed-forward network and the GELU between them.

Forward there is nothing to fuse by hand: cuBLAS adds the bias to the product, and torch's GELU is one pass already.
Backward, separate operations read and write (T, I) four times: the GELU's input and its output's gradient, the input's
gradient, and that once more for the first product's bias. Here it is one pass, written over the output's gradient. It
lies between the second product's two backward products, so that the second product owns it: that one alone knows when
its input's gradient is complete, and needs the GELU's output no sooner than this pass has computed it again. With
`recompute` the output is therefore not kept between forward and backward, a quarter of a layer's activations, for one
more write.

The first product's bias gets its gradient from that pass, handed back through a port: a module must not touch another's
parameters, since ZeRO 3 gathers those of the module that it runs. Plain torch without `recompute` needs none of this
and is the three operations as they are.

Shapes: T tokens, H features, I features of the intermediate layer.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.kernels import backends
from pipeline.kernels.backends import Backend

Approximate = Literal["none", "tanh"]
APPROXIMATE: dict[str, Approximate] = {"gelu": "none", "gelu_new": "tanh"}
"""torch's word for each GELU. Names as in Hugging Face. What google-research/bert computes under the name "gelu" is the
tanh approximation, here "gelu_new"; the two differ by less than 5e-4."""


def backward_(grad: Tensor, x: Tensor, approximate: Approximate, recompute: bool) -> tuple[Tensor | None, Tensor]:
    """GELU's backward pass, over `grad`: what the Triton kernel is tested against.

    Args:
        grad: (T, I) gradient of gelu(x), replaced by the gradient of x.
        x: (T, I).
        approximate: which GELU.
        recompute: whether gelu(x) is wanted.

    Returns:
        gelu(x) (T, I) or None, and the sum (I,) over the rows of the gradient of x.
    """
    grad.copy_(torch.ops.aten.gelu_backward(grad, x, approximate=approximate))
    return functional.gelu(x, approximate=approximate) if recompute else None, grad.sum(0)


class _Product(torch.autograd.Function):
    """x W^T + b, and a port for the gradient of b: a tensor with b's shape but without memory, not even shared."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight)
        return functional.linear(x, weight, bias), bias.new_zeros(()).expand_as(bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, port_grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return grad @ weight.to(grad.dtype), grad.t() @ x.to(grad.dtype), port_grad


class _GeluProduct(torch.autograd.Function):
    """gelu(x) W^T + b, and through `port` the gradient of what was added to every row of x."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        port: Tensor,
        weight: Tensor,
        bias: Tensor,
        approximate: Approximate,
        recompute: bool,
        backend: Backend,
    ) -> Tensor:
        out = functional.gelu(x, approximate=approximate)
        ctx.approximate, ctx.backend = approximate, backend
        ctx.save_for_backward(x, weight, *([] if recompute else [out]))
        return functional.linear(out, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *kept = ctx.saved_tensors
        fused = backends.triton_kernels("gelu", ctx.backend, x.device.type)
        gradient = grad @ weight.to(grad.dtype)  # of gelu(x), until the next line
        again, port_grad = (fused.backward_ if fused else backward_)(gradient, x, ctx.approximate, not kept)
        weight_grad = grad.t() @ (again if again is not None else kept[0])
        return gradient, port_grad, weight_grad, grad.sum(0), None, None, None


class FirstProduct(nn.Linear):
    """The product before the GELU."""

    def __init__(self, width: int, intermediate: int, recompute: bool = False, backend: Backend = "auto") -> None:
        super().__init__(width, intermediate)
        self.recompute = recompute
        self.backend = backend

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """Takes (T, H), returns (T, I) and the port of the bias, None where `SecondProduct` has no need of it."""
        if self.recompute or backends.triton_kernels("gelu", self.backend, x.device.type) is not None:
            product, port = _Product.apply(x, self.weight, self.bias)
            return product, port
        return super().forward(x), None


class SecondProduct(nn.Linear):
    """The GELU and the product after it.

    Args:
        intermediate, width: I and H.
        approximate: which GELU.
        recompute: keep the GELU's input only; `FirstProduct` takes the same.
        backend: plain torch or Triton; `FirstProduct` takes the same.
    """

    def __init__(
        self,
        intermediate: int,
        width: int,
        approximate: Approximate = "none",
        recompute: bool = False,
        backend: Backend = "auto",
    ) -> None:
        super().__init__(intermediate, width)
        self.approximate = approximate
        self.recompute = recompute
        self.backend = backend

    def forward(self, x: Tensor, port: Tensor | None) -> Tensor:  # type: ignore[override]
        """Takes both of `FirstProduct`'s results, returns (T, H)."""
        if port is None:
            return super().forward(functional.gelu(x, approximate=self.approximate))
        out: Tensor = _GeluProduct.apply(
            x, port, self.weight, self.bias, self.approximate, self.recompute, self.backend
        )
        return out
