"""Laws of pipeline/kernels/plain_attention.py."""

import pytest
import torch

from pipeline.kernels.plain_attention import attend, kept, lowest_kept, philox

HEADS, LENGTH = 3, 70
SEED = torch.tensor(-3 << 40)


@pytest.mark.parametrize(
    ("rounds", "fill", "words"),
    [
        (7, 0, [0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48]),
        (10, 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (10, 0xFFFFFFFF, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ],
)
def test_philox_gives_its_authors_numbers(rounds, fill, words):
    """Philox gives the known answers of Random123 for seeds and counters of zeros and of ones."""
    seed = torch.tensor(-1 if fill else 0)
    assert [int(word) for word in philox(seed, *torch.full((4, 1), fill), rounds=rounds)] == words


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_the_share_of_dropped_probabilities(probability):
    """The asked share is dropped by each of the four words of a call alike, independently of the others."""
    threshold, scale = lowest_kept(probability)
    assert scale == pytest.approx(1 / (1 - probability), rel=1e-4)
    gone = ~kept(SEED, 0, HEADS, 16 * 16, threshold)
    words = gone.view(HEADS, 16, 2, 8, 16, 2, 8).permute(2, 5, 0, 1, 3, 4, 6).reshape(4, -1).double()
    sigma = (probability * (1 - probability) / words.shape[1]) ** 0.5
    assert (words.mean(1) - probability).abs().max() < 5 * sigma
    assert (torch.corrcoef(words) - torch.eye(4)).abs().max() < 5 / words.shape[1] ** 0.5


def test_a_mask_depends_on_seed_sequence_and_head_alone():
    """A shorter sequence has the beginning of the same mask; any other seed, sequence or head has another one."""
    threshold, _ = lowest_kept(0.5)
    mask = kept(SEED, 4, HEADS, LENGTH, threshold)
    assert torch.equal(kept(SEED, 4, HEADS, 33, threshold), mask[:, :33, :33])
    others = [kept(SEED + 1, 4, 1, LENGTH, threshold)[0], kept(SEED, 5, 1, LENGTH, threshold)[0], *mask[1:]]
    for other in [*others, mask[0].T]:
        assert 0.4 < (other == mask[0]).double().mean() < 0.6


@pytest.mark.parametrize("probability", [0.0, 0.3])
def test_output_equals_the_equation(probability):
    """The output is that of one head of one sequence at a time, with the mask of that sequence."""
    lengths = [1, 33, 7]
    bounds = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    qkv = torch.randn(sum(lengths), 3, HEADS, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = attend(qkv, bounds, probability, SEED)
    threshold, scale = lowest_kept(probability)
    for number, part in enumerate(qkv.split(lengths)):
        mask = kept(SEED, number, HEADS, lengths[number], threshold)
        for head in range(HEADS):
            query, key, value = part[:, :, head].unbind(1)
            expected = (torch.softmax(query @ key.T / 8**0.5, -1) * mask[head] * scale) @ value
            rows = slice(int(bounds[number]), int(bounds[number + 1]))
            torch.testing.assert_close(found[rows, head], expected, rtol=1e-12, atol=1e-12)
