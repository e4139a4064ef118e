"""One step of plain LAMB equals a computation by hand, on numbers that need no rounding."""

import torch

from pipeline.kernels.lamb.interface import Coefficients, Partition, Piece, State
from pipeline.kernels.lamb.plain import PlainKernel, direction, moments_

NUMBERS = Coefficients(lr=0.5, beta1=0.5, beta2=0.75, eps=0.0, weight_decay=0.25, step=1)


def test_the_first_step_by_hand():
    """With g = 4, m = 2 and v = 4, bias correction gives the gradient's m^ = 4 and v^ = 16, so u = 1 + w / 4."""
    grad, exp_avg, exp_avg_sq = torch.tensor([4.0]), torch.zeros(1), torch.zeros(1)
    moments_(grad, exp_avg, exp_avg_sq, NUMBERS)
    assert (exp_avg.item(), exp_avg_sq.item()) == (2.0, 4.0)
    assert direction(torch.tensor([8.0]), exp_avg, exp_avg_sq, NUMBERS).item() == 3.0
    uncorrected = NUMBERS._replace(bias_correction=False)
    assert direction(torch.tensor([8.0]), exp_avg, exp_avg_sq, uncorrected).item() == 2 / 2 + 8 / 4


def test_both_passes_by_hand():
    """The sums are those of the squares of w and u, the weight moves by lr * ratio * u, and the 16-bit copy follows."""
    model = torch.zeros(2, dtype=torch.bfloat16)
    state = State(torch.tensor([8.0, 9.0]), torch.tensor([4.0, 9.0]), torch.zeros(2), torch.zeros(2), model)
    partition, kernel = Partition([Piece(0, 0, 1)], 1), PlainKernel()
    assert kernel.moments(state, partition, NUMBERS).tolist() == [[64.0, 9.0]]
    kernel.apply(state, partition, NUMBERS, torch.tensor([2.0]))
    assert state.param.tolist() == [8.0 - 0.5 * 2.0 * 3.0, 9.0]
    assert model.tolist() == [5.0, 0.0]
