"""Laws of pipeline/model/heads.py."""

from dataclasses import replace

import torch
from torch import nn

from pipeline.losses.cross_entropy import cross_entropy_sum
from pipeline.model import heads
from pipeline.model.encoder import EncoderConfig
from pipeline.model.heads import MaskedLMHead, Pooler

CONFIG = EncoderConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)


def test_chosen_rows_equal_the_full_head_gathered():
    """Logits of selected rows are the rows of all tokens' logits."""
    torch.manual_seed(0)
    head = MaskedLMHead(CONFIG, nn.Embedding(30, 16))
    hidden, rows = torch.randn(20, 16), torch.tensor([1, 2, 7, 19])
    torch.testing.assert_close(head(hidden[rows]), head(hidden)[rows])


def test_the_decoder_is_the_word_embedding():
    """One parameter is both decoder and word embedding: a change of one changes the other, and both
    gradients add up.
    """
    words = nn.Embedding(30, 16)
    head = MaskedLMHead(CONFIG, words)
    assert head.decoder.weight is words.weight
    model = nn.ModuleDict({"words": words, "head": head})
    assert sum(parameter.shape == (30, 16) for parameter in model.parameters()) == 1


def test_the_loss_is_that_of_the_logits():
    """With labels, the head returns the cross entropy of its logits."""
    torch.manual_seed(0)
    head = MaskedLMHead(CONFIG, nn.Embedding(30, 16))
    rows, labels = torch.randn(20, 16), torch.randint(30, (20,))
    found, expected = head(rows, labels), cross_entropy_sum(head(rows), labels)
    assert torch.equal(found.loss, expected.loss) and found.correct == expected.correct


def test_the_loss_keeps_to_the_bound_on_logits(monkeypatch):
    """The configured bound on logits in MiB reaches the loss."""
    bounds = []
    monkeypatch.setattr(heads, "projected_cross_entropy_sum", lambda *arguments: bounds.append(arguments[4]))
    MaskedLMHead(replace(CONFIG, max_logits_mib=3), nn.Embedding(30, 16))(torch.randn(2, 16), torch.tensor([0, 1]))
    assert bounds == [3 << 20]


def test_the_pooler_reads_first_tokens_only():
    """The vector of a sequence depends on the state of its first token only."""
    torch.manual_seed(0)
    pooler, bounds = Pooler(16), torch.tensor([0, 3], dtype=torch.int32)
    hidden = torch.randn(8, 16)
    pooled = pooler(hidden, bounds)
    assert torch.equal(pooled, pooler.dense(hidden[[0, 3]]).tanh())
    hidden[[1, 2, 4, 5, 6, 7]] = float("nan")
    assert torch.equal(pooler(hidden, bounds), pooled)
