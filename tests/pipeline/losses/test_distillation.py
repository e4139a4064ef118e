"""Laws of pipeline/losses/distillation.py."""

import pytest
import torch
from torch.nn import functional

from pipeline.data.labels import IGNORED
from pipeline.losses.distillation import SoftTargets, cosine_distance_sum, soft_target_sum


def case(dtype=torch.float64):
    """Return features of a student (R, H), its weight and bias, and soft targets, with a row of padding."""
    generator = torch.Generator().manual_seed(3)
    shapes = ((7, 5), (11, 5), (11,), (7, 4), (11, 4), (11,))
    rows, weight, bias, *theirs = (torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)
    labels = torch.tensor([1, 2, 3, 4, 5, 6, IGNORED])
    for each in (rows, weight, bias):
        each.requires_grad_()
    return rows, weight, bias, SoftTargets(*theirs, labels, temperature=2.0)


@pytest.mark.parametrize("max_bytes", [1, 3 * 2 * 11 * 4, 1 << 20], ids=["a row", "three rows", "all rows"])
def test_soft_targets_are_the_divergence_of_both_distributions(max_bytes):
    """Loss and gradients are those of torch's divergence of the softmax at a temperature times its square, whatever the
    size of the chunks, and padding contributes nothing.
    """
    rows, weight, bias, targets = case()
    ours = rows @ weight.t() + bias
    theirs = targets.rows @ targets.weight.t() + targets.bias
    expected = 4 * functional.kl_div(
        (ours[:6] / 2).log_softmax(1), (theirs[:6] / 2).log_softmax(1), reduction="sum", log_target=True
    )
    found = soft_target_sum(rows, weight, bias, targets, max_bytes).loss
    torch.testing.assert_close(found, expected)
    inputs = (rows, weight, bias)
    for actual, wanted in zip(
        torch.autograd.grad(3 * found, inputs), torch.autograd.grad(3 * expected, inputs), strict=True
    ):
        torch.testing.assert_close(actual, wanted)


def test_a_student_that_equals_its_teacher_has_no_loss():
    """The divergence of a distribution from itself and the distance of a direction from itself are 0."""
    rows, weight, bias, targets = case()
    same = targets._replace(rows=rows.detach(), weight=weight.detach(), bias=bias.detach())
    assert soft_target_sum(rows, weight, bias, same, 1 << 20).loss.abs() < 1e-12
    assert cosine_distance_sum(rows, 3 * rows.detach(), torch.ones(7, dtype=torch.bool)).loss.abs() < 1e-12


def test_the_distance_of_directions_is_torchs_loss():
    """The sum over the rows that are no padding is that of torch's cosine embedding loss."""
    one, other = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(1)).unbind()
    expected = functional.cosine_embedding_loss(one[:7], other[:7], torch.ones(7), reduction="sum")
    torch.testing.assert_close(cosine_distance_sum(one, other, torch.arange(9) < 7).loss, expected)
