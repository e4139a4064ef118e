"""Laws of pipeline/kernels/dropout.py."""

import pytest
import torch

from pipeline.kernels.dropout import Dropout, draw_seeds, dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_the_expectation_is_the_input(probability, dtype):
    """Elements are dropped with the given probability, and the others are scaled so that the mean is unchanged."""
    torch.manual_seed(0)
    dropped = dropout(torch.ones(1000, 1001, dtype=dtype), probability).double()
    sigma = (probability * (1 - probability) / dropped.numel()) ** 0.5
    assert abs((dropped == 0).double().mean() - probability) < 5 * sigma + 2**-17
    assert dropped.max() == pytest.approx(1 / (1 - probability), rel=2**-8 if dtype == torch.bfloat16 else 1e-4)
    assert dropped.unique().numel() == 2


def test_neighbouring_elements_are_independent():
    """The four elements that share a random word are dropped independently, and none of the four more often."""
    torch.manual_seed(0)
    gone = (dropout(torch.ones(500_000, 4), 0.3) == 0).double()
    assert (gone.mean(0) - 0.3).abs().max() < 5 * (0.21 / 500_000) ** 0.5
    assert (torch.corrcoef(gone.T) - torch.eye(4)).abs().max() < 5 / 500_000**0.5


def test_gradients_pass_through_the_kept_elements_only():
    """The gradient is the mask that was applied, whatever the shape's remainder modulo four."""
    x = torch.ones(3, 7, requires_grad=True)
    out = dropout(x, 0.5)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test_the_seed_decides_the_mask():
    """The same random state gives the same mask, and the next state gives another."""
    x = torch.ones(1000)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.5), first)
    assert not torch.equal(first, second)


def test_seeds_that_are_drawn_at_once():
    """They differ, follow the generator, and begin at multiples of 16 bytes, for which Triton compiles one kernel."""
    torch.manual_seed(3)
    seeds = draw_seeds(9, torch.device("cpu"))
    torch.manual_seed(3)
    assert torch.equal(draw_seeds(9, torch.device("cpu")), seeds)
    assert len(seeds.unique()) == 9 and not any(seed.data_ptr() % 16 for seed in seeds)


def test_outside_training_nothing_is_dropped():
    """In evaluation, and at probability 0, the input itself is returned and no random number is drawn."""
    x, state = torch.ones(8), torch.get_rng_state()
    assert Dropout(0.5).eval()(x) is x
    assert dropout(x, 0.0) is x
    assert torch.equal(torch.get_rng_state(), state)
    assert Dropout(0.999999)(x).isfinite().all()
