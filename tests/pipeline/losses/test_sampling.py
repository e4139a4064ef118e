"""Laws of pipeline/losses/sampling.py."""

import pytest
import torch

from pipeline.losses.sampling import projected_samples


def case(rows=3, words=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator) for shape in ((rows, 5), (words, 5), (words,))]


def test_a_token_is_where_the_cumulative_probability_passes_its_number():
    """Each number selects the word in whose interval of the cumulative softmax it lies."""
    rows, weight, bias = case()
    bounds = (rows @ weight.T + bias).double().softmax(1).cumsum(1)
    for word in range(7):
        below = bounds[:, word - 1] if word else torch.zeros(3)
        for share in (0.01, 0.99):
            uniform = below + share * (bounds[:, word] - below)
            assert projected_samples(rows, weight, bias, uniform, 1 << 20).tolist() == [word] * 3


def test_tokens_have_the_distribution_of_the_softmax():
    """Equally spaced numbers select each word as often as its probability says."""
    rows, weight, bias = case(rows=1)
    uniform = (torch.arange(20_000) + 0.5) / 20_000
    drawn = projected_samples(rows.expand(20_000, -1), weight, bias, uniform, 1 << 20)
    shares = drawn.bincount(minlength=7) / 20_000
    torch.testing.assert_close(shares, (rows @ weight.T + bias).softmax(1)[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("max_bytes", [1, 60, 1 << 20])
def test_chunks_of_rows_change_nothing(max_bytes):
    """The bound on the logits does not affect the tokens, and no gradient is recorded."""
    rows, weight, bias = case(rows=40)
    weight.requires_grad_(True)
    uniform = torch.rand(40, generator=torch.Generator().manual_seed(1))
    drawn = projected_samples(rows, weight, bias, uniform, max_bytes)
    assert torch.equal(drawn, projected_samples(rows, weight, bias, uniform, 1 << 20)) and not drawn.requires_grad


def test_the_ends_of_the_interval_are_tokens():
    """0 and the largest number below 1 select words of the vocabulary, and no rows give no tokens."""
    rows, weight, bias = case(rows=2)
    drawn = projected_samples(rows, weight, bias, torch.tensor([0.0, 1 - 2**-24]), 1 << 20)
    assert drawn.min() >= 0 and drawn.max() < 7
    assert len(projected_samples(rows[:0], weight, bias, torch.zeros(0), 1 << 20)) == 0
