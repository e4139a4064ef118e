"""The two linear layers of a feed-forward network and the GELU between them, with a fused backward pass.

The forward pass needs no fusion: cuBLAS adds the bias to the product, and torch's GELU is a single pass. In the
backward pass separate operations access (T, I) tensors four times: the input of the GELU, the gradient of its output,
the gradient of its input, and the latter again for the sum that is the gradient of the first bias. Here this is one
pass, which overwrites the gradient of the output. `GeluLinear` runs it between its two backward products: it knows
when the gradient of its input is complete, and needs the output of the GELU only after this pass has computed it again.
With `recompute` the output, a quarter of a layer's activations, is therefore not saved between forward and backward
pass, at the cost of one more write.

The pass also yields the gradient of the first bias, which `GeluLinear` returns through the port of the linear layer
before it (`pipeline.kernels.linear`). Plain torch without `recompute` needs no port and runs the three operations.

The products may be computed in FP8 (`pipeline.kernels.fp8`).

Shapes: T tokens, H features, I features of the intermediate layer.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.kernels import backends
from pipeline.kernels.backends import Backend
from pipeline.kernels.config import Fp8
from pipeline.kernels.fp8 import forward_product, input_gradient
from pipeline.kernels.linear import Linear, new_port

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


class _GeluLinear(torch.autograd.Function):
    """gelu(x) W^T + b and the port of b. The gradient of `port` is that of the bias that is in every row of x."""

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
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        out = functional.gelu(x, approximate=approximate)
        ctx.approximate, ctx.backend, ctx.fp8 = approximate, backend, fp8
        ctx.save_for_backward(x, weight, *([] if recompute else [out]))
        return forward_product(out, weight, bias, fp8, backend), new_port(bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, bias_grad: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, *kept = ctx.saved_tensors
        fused = backends.triton_kernels("gelu", ctx.backend, x.device.type)
        gradient = input_gradient(grad, weight, ctx.fp8, ctx.backend)  # of gelu(x), until the next line
        again, port_grad = (fused.backward_ if fused else backward_)(gradient, x, ctx.approximate, not kept)
        weight_grad = grad.t() @ (again if again is not None else kept[0])
        bias_grad = grad.sum(0) if bias_grad is None else bias_grad
        return gradient, port_grad, weight_grad, bias_grad, None, None, None, None


class GeluLinear(Linear):
    """The GELU and the linear layer after it.

    Args:
        intermediate, width: I and H.
        approximate: "none" for the exact GELU, "tanh" for its approximation.
        recompute: save only the input of the GELU for the backward pass; the layer before it must be `ported` then.
        fp8, backend: as in `Linear`; the layer before it must have the same values.
    """

    def __init__(
        self,
        intermediate: int,
        width: int,
        approximate: Approximate = "none",
        recompute: bool = False,
        fp8: Fp8 = "none",
        backend: Backend = "auto",
    ) -> None:
        super().__init__(intermediate, width, fp8, backend)
        self.approximate = approximate
        self.recompute = recompute

    def forward(self, x: Tensor, port: Tensor | None) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """Map x (T, I) and the port (I,) of the layer before it to (T, H) and the layer's own port (H,) or None."""
        if port is None:
            product, own, _ = super().forward(functional.gelu(x, approximate=self.approximate))
            return product, own
        product, own = _GeluLinear.apply(
            x, port, self.weight, self.bias, self.approximate, self.recompute, self.backend, self.fp8
        )
        return product, own if self.fused(x) else None
