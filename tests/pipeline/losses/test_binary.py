"""Laws of pipeline/losses/binary.py."""

import torch
from torch.nn import functional

from pipeline.losses.binary import binary_cross_entropy_sum


def test_it_is_torchs_loss_with_the_number_of_hits():
    """Loss and gradient are those of torch in fp32, for 16-bit logits too, and hits have the sign of their label.
    Padding has no part in them.
    """
    logits = torch.tensor([-2.0, -0.5, 0.25, 3.0, 7.0], dtype=torch.bfloat16, requires_grad=True)
    labels = torch.tensor([False, True, True, True, True])
    found = binary_cross_entropy_sum(logits, labels, torch.arange(5) < 4)
    wide = logits[:4].float()
    expected = functional.binary_cross_entropy_with_logits(wide, labels[:4].float(), reduction="sum")
    torch.testing.assert_close(found.loss, expected)
    assert found.loss.dtype == torch.float32 and found.correct == 3
    assert torch.equal(*(torch.autograd.grad(loss, logits)[0] for loss in (found.loss, expected)))
