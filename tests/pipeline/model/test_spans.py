"""Laws of pipeline/model/spans.py; tests/pipeline/families/test_spanbert.py compares the loss with a slow loop."""

import torch

from pipeline.data.labels import IGNORED
from pipeline.families.spanbert import SpanBertConfig, build
from pipeline.model.spans import boundaries

CONFIG = SpanBertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)


def test_boundaries_of_a_case_made_by_hand():
    """Each masked token has the tokens on both sides of its span, and its place in it; padding is apart."""
    positions = torch.tensor([1, 4, 5, 6, 9, 0, 0])
    labels = torch.tensor([7, 7, 7, 7, 7, IGNORED, IGNORED])
    found = boundaries(positions, labels, num_tokens=11)
    assert found.before[:5].tolist() == [0, 3, 3, 3, 8]
    assert found.after[:5].tolist() == [2, 7, 7, 7, 10]
    assert found.places.tolist() == [0, 0, 1, 2, 0, 0, 0]
    assert all(0 <= value < 11 for ends in found[:2] for value in ends.tolist())


def test_the_objective_does_not_read_the_span():
    """Its loss sends gradients to the hidden states of the boundaries of spans, and to no others."""
    torch.manual_seed(0)
    model, positions = build(CONFIG, 50), torch.tensor([1, 4, 5, 10, 11, 12, 13])
    hidden = torch.randn(20, 16, requires_grad=True)
    model.from_boundaries(hidden, positions, torch.full((7,), 9)).loss.backward()
    assert hidden.grad.abs().sum(1).nonzero().flatten().tolist() == [0, 2, 3, 6, 9, 14]
