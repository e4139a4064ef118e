"""The mathematics of Muon (momentum, orthogonalisation and step), without communication between ranks.

Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks",
https://kellerjordan.github.io/posts/muon/) for one matrix w (rows, cols) with gradient g at step t = 1, 2, ...:

    m_t = mu m_{t-1} + (1 - mu) g
    d   = mu m_t + (1 - mu) g                                            (Nesterov's form)
    u   = 0.2 sqrt(max(rows, cols)) * orthogonalise(d)
    w  <- w - lr * (u + lambda w)

The orthogonalisation maps all singular values of d close to 1 and does not depend on the scale of d. The factor 1 - mu,
which the first version of Jordan et al. omits from both lines, therefore does not change the result; with it m is a
mean of gradients, like the first moment of Adam. The factor of u is that of Liu et al. 2025 ("Muon is Scalable for LLM
Training", https://arxiv.org/abs/2502.16982, equation 4): the root mean square of the elements of u is about 0.2, as for
the updates of AdamW, so that both can use the same learning rate and weight decay.

All operations are elementwise, except the orthogonalisation, which needs the whole matrix."""

import torch
from torch import Tensor

from pipeline.optim.norms import sum_of_squares

STEPS = 5
"""Number of Newton-Schulz steps."""
QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients a, b, c of Jordan et al.: s -> a s + b s^3 + c s^5, applied five times, maps [0.002, 1] into
[0.68, 1.21]."""
RMS = 0.2
"""Root mean square of the elements of an update."""


def nesterov_(grad: Tensor, exp_avg: Tensor, momentum: float) -> None:
    """Update the momentum, m = mu m + (1 - mu) g, and replace g by d = mu m + (1 - mu) g; all tensors are (n,) fp32.

    Products and sums are separate operations, because a fused operation rounds differently in the remainder of a vector
    loop, whose position depends on the partition.
    """
    grad.mul_(1 - momentum)
    exp_avg.mul_(momentum).add_(grad)
    grad.add_(exp_avg * momentum)


def orthogonalise(matrix: Tensor) -> Tensor:
    """The matrix with its singular values mapped close to 1, by five steps of a quintic Newton-Schulz iteration.

    Args:
        matrix: (rows, cols) fp32, contiguous.

    Returns:
        (rows, cols) fp32. Singular values above 0.002 of the Frobenius norm of the matrix are mapped into [0.68, 1.21];
        smaller ones, relative to that norm, grow by a factor of at most 345; zeros remain zero. All products are
        computed in newly allocated memory, so that the result does not depend on the alignment of `matrix`.
    """
    a, b, c = QUINTIC
    least = torch.finfo(torch.float32).tiny
    is_tall = len(matrix) > matrix.shape[1]
    x = matrix.mT.contiguous() if is_tall else matrix
    x = x / torch.linalg.vector_norm(x, torch.inf).clamp_min(least)  # squares stay within the range of fp32
    x /= sum_of_squares([x]).sqrt().float().clamp_min(least)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT.contiguous() if is_tall else x


def update(direction: Tensor) -> Tensor:
    """The update u for a direction d; both are (rows, cols) fp32."""
    return orthogonalise(direction).mul_(RMS * max(direction.shape) ** 0.5)


def step_(param: Tensor, update: Tensor, *, lr: float, weight_decay: float) -> None:
    """Replace w by w - lr * (u + lambda w); all tensors are (n,) fp32."""
    param.mul_(1 - lr * weight_decay).sub_(update * lr)


def work(shape: tuple[int, ...]) -> int:
    """Number of floating-point operations of `orthogonalise` for a matrix of shape (rows, cols).

    The product of (a, b) and (b, c) counts 2abc. With r the lesser and c the greater of rows and cols, each step needs
    2 r^2 c for the Gram matrix, 2 r^3 for its square and 2 r^2 c for the product with x.
    """
    lesser, greater = min(shape), max(shape)
    return STEPS * (4 * lesser**2 * greater + 2 * lesser**3)
