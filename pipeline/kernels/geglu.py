"""The gated linear unit with GELU (GeGLU) between the two products of a feed-forward network, without biases.

The first product makes 2 I features of a token. The GELU of the first half, times the second half, enters the second
product. Source: Shazeer 2020, "GLU variants improve transformer" (https://arxiv.org/abs/2002.05202), equation 6.

Separate operations would keep both halves, the GELU and its product with the gate for the backward pass. Here the GELU
is computed again, so that the input of the unit and its output are kept, or with `recompute` the input alone.

Shapes: T tokens, H features, I features of the intermediate layer.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.kernels.backends import Backend
from pipeline.kernels.config import Fp8
from pipeline.kernels.fp8 import forward_product, input_gradient
from pipeline.kernels.gelu import Approximate


class GatedProduct(nn.Linear):
    """The GeGLU and the linear layer after it.

    Args:
        intermediate, width: I and H.
        approximate: "none" for the exact GELU, "tanh" for its approximation.
        recompute: save only the input of the unit for the backward pass.
        backend: kernels of the quantisation in FP8.
        fp8: type of the factors of the product.
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
        super().__init__(intermediate, width, bias=False)
        self.approximate, self.recompute = approximate, recompute
        self.backend, self.fp8 = backend, fp8

    def forward(self, x: Tensor) -> Tensor:
        """Map x (T, 2 I) to (T, H)."""
        out: Tensor = _GatedProduct.apply(x, self.weight, self.approximate, self.recompute, self.backend, self.fp8)
        return out


class _GatedProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, approximate: Approximate, recompute: bool, backend: Backend, fp8: Fp8
    ) -> Tensor:
        entrance, gate = x.chunk(2, 1)
        out = functional.gelu(entrance, approximate=approximate).mul_(gate)
        ctx.approximate, ctx.backend, ctx.fp8 = approximate, backend, fp8
        ctx.save_for_backward(x, weight, *([] if recompute else [out]))
        return forward_product(out, weight, None, fp8, backend)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *kept = ctx.saved_tensors
        entrance, gate = x.chunk(2, 1)
        gradient = input_gradient(grad, weight, ctx.fp8, ctx.backend)  # of the unit's output
        activated = functional.gelu(entrance, approximate=ctx.approximate)
        weight_grad = grad.t() @ (kept[0] if kept else activated * gate)
        x_grad = torch.empty_like(x)
        ours, gates = x_grad.chunk(2, 1)
        torch.mul(gradient, activated, out=gates)
        ours.copy_(torch.ops.aten.gelu_backward(gradient.mul_(gate), entrance, approximate=ctx.approximate))
        return x_grad, weight_grad, None, None, None, None
