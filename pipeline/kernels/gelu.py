"""The two linear layers of a feed-forward network and the GELU between them, with a fused backward pass.

The forward pass needs no fusion: cuBLAS adds the bias to the product, and torch's GELU is a single pass. In the
backward pass separate operations access (T, I) tensors four times: the input of the GELU, the gradient of its output,
the gradient of its input, and the latter again for the sum that is the gradient of the first bias. Here this is one
pass, which overwrites the gradient of the output. `SecondProduct` runs it between its two backward products: it knows
when the gradient of its input is complete, and needs the output of the GELU only after this pass has computed it again.
With `recompute` the output, a quarter of a layer's activations, is therefore not saved between forward and backward
pass, at the cost of one more write.

The pass also yields the gradient of the first bias. `SecondProduct` returns it to `FirstProduct` as the gradient of a
"port", an empty output of the first layer. A module must not use the parameters of another one, because ZeRO stage 3
gathers those of the module that runs. Plain torch without `recompute` needs no port and runs the three operations.

The products may be computed in FP8 (`pipeline.kernels.fp8`).

Shapes: T tokens, H features, I features of the intermediate layer.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.kernels import backends
from pipeline.kernels.backends import Backend
from pipeline.kernels.config import Fp8
from pipeline.kernels.fp8 import forward_product, input_gradient, linear

Approximate = Literal["none", "tanh"]
APPROXIMATE: dict[str, Approximate] = {"gelu": "none", "gelu_new": "tanh"}
"""The `approximate` argument of torch's GELU by the name of the activation in Hugging Face Transformers. The function
that google-research/bert calls "gelu" is the tanh approximation, here "gelu_new"; the two differ by less than 5e-4."""


def backward_(grad: Tensor, x: Tensor, approximate: Approximate, recompute: bool) -> tuple[Tensor | None, Tensor]:
    """The backward pass of GELU, in place; the reference of the tests of the Triton kernel.

    Args:
        grad: (T, I) gradient of gelu(x), replaced by the gradient of x.
        x: (T, I) input of the GELU.
        approximate: "none" for the exact GELU, "tanh" for its approximation.
        recompute: whether to return gelu(x).

    Returns:
        gelu(x) (T, I) or None, and the sum (I,) of the rows of the gradient of x.
    """
    grad.copy_(torch.ops.aten.gelu_backward(grad, x, approximate=approximate))
    return functional.gelu(x, approximate=approximate) if recompute else None, grad.sum(0)


class _Product(torch.autograd.Function):
    """x W^T + b, and a port whose gradient becomes that of b: an expanded zero of the shape of b, without memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, fp8: Fp8, backend: Backend) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight)
        ctx.fp8, ctx.backend = fp8, backend
        return forward_product(x, weight, bias, fp8, backend), bias.new_zeros(()).expand_as(bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, port_grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = input_gradient(grad, weight, ctx.fp8, ctx.backend)
        return gradient, grad.t() @ x.to(grad.dtype), port_grad, None, None


class _GeluProduct(torch.autograd.Function):
    """gelu(x) W^T + b; the gradient of `port` is that of the bias that was added to every row of x."""

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
        fp8: Fp8,
    ) -> Tensor:
        out = functional.gelu(x, approximate=approximate)
        ctx.approximate, ctx.backend, ctx.fp8 = approximate, backend, fp8
        ctx.save_for_backward(x, weight, *([] if recompute else [out]))
        return forward_product(out, weight, bias, fp8, backend)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *kept = ctx.saved_tensors
        fused = backends.triton_kernels("gelu", ctx.backend, x.device.type)
        gradient = input_gradient(grad, weight, ctx.fp8, ctx.backend)  # of gelu(x), until the next line
        again, port_grad = (fused.backward_ if fused else backward_)(gradient, x, ctx.approximate, not kept)
        weight_grad = grad.t() @ (again if again is not None else kept[0])
        return gradient, port_grad, weight_grad, grad.sum(0), None, None, None, None


class FirstProduct(nn.Linear):
    """The linear layer before the GELU.

    Args:
        width, intermediate: H and I.
        recompute: as in `SecondProduct`.
        backend: as in `SecondProduct`.
        fp8: type of the factors of the products.
    """

    def __init__(
        self, width: int, intermediate: int, recompute: bool = False, backend: Backend = "auto", fp8: Fp8 = "none"
    ) -> None:
        super().__init__(width, intermediate)
        self.recompute = recompute
        self.backend = backend
        self.fp8 = fp8

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """Map x (T, H) to the product (T, I) and the port of the bias, None where `SecondProduct` does not need it."""
        if self.recompute or backends.triton_kernels("gelu", self.backend, x.device.type) is not None:
            product, port = _Product.apply(x, self.weight, self.bias, self.fp8, self.backend)
            return product, port
        return linear(x, self.weight, self.bias, self.fp8, self.backend), None


class SecondProduct(nn.Linear):
    """The GELU and the linear layer after it.

    Args:
        intermediate, width: I and H.
        approximate: "none" for the exact GELU, "tanh" for its approximation.
        recompute: save only the input of the GELU for the backward pass; `FirstProduct` must have the same value.
        backend: plain torch or Triton; `FirstProduct` must have the same value.
        fp8: type of the factors of the products.
    """

    def __init__(
        self,
        intermediate: int,
        width: int,
        approximate: Approximate = "none",
        recompute: bool = False,
        backend: Backend = "auto",
        fp8: Fp8 = "none",
    ) -> None:
        super().__init__(intermediate, width)
        self.approximate = approximate
        self.recompute = recompute
        self.backend = backend
        self.fp8 = fp8

    def forward(self, x: Tensor, port: Tensor | None) -> Tensor:  # type: ignore[override]
        """Map the results of `FirstProduct`, x (T, I) and the port (I,), to (T, H)."""
        if port is None:
            activated = functional.gelu(x, approximate=self.approximate)
            return linear(activated, self.weight, self.bias, self.fp8, self.backend)
        out: Tensor = _GeluProduct.apply(
            x, port, self.weight, self.bias, self.approximate, self.recompute, self.backend, self.fp8
        )
        return out
