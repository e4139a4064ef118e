"""Heads for fine-tuning on the encoder's hidden states, and the model of an encoder with one of them.

Each computes what the head of a class of `transformers` computes, where its docstring names the class.

Shapes: T tokens, B sequences, H hidden_size, C outputs.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.kernels.dropout import Dropout
from pipeline.kernels.rows import LayerNorm
from pipeline.model.config import EncoderConfig
from pipeline.model.encoder import ACTIVATIONS, Encoder
from pipeline.model.heads import Pooler
from pipeline.model.initialization import initialize_weights


class PooledClassifier(nn.Module):
    """Classifier on the pooled first token, as in `BertForSequenceClassification`, and in `BertForMultipleChoice` and
    `RobertaForMultipleChoice`, where each sequence is a choice.
    """

    def __init__(self, hidden_size: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.pooler = Pooler(hidden_size)
        self.dropout = Dropout(dropout)
        self.classifier = nn.Linear(hidden_size, outputs)

    def forward(self, hidden: Tensor, starts: Tensor) -> Tensor:
        """Takes hidden states (T, H) and the index of each sequence's first token (B,), returns logits (B, C)."""
        logits: Tensor = self.classifier(self.dropout(self.pooler(hidden, starts)))
        return logits


class DenseClassifier(nn.Module):
    """Classifier with a hidden layer on the first token, as in `RobertaForSequenceClassification` with tanh and in
    `ElectraForSequenceClassification` with gelu. The dropout before the hidden layer has a probability of its own, 0,
    in `DistilBertForSequenceClassification` with relu, and in `DebertaV2ForSequenceClassification` and
    `DebertaV2ForMultipleChoice` with gelu.
    """

    def __init__(
        self,
        hidden_size: int,
        outputs: int,
        dropout: float,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        first_dropout: float | None = None,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.first_dropout = Dropout(dropout if first_dropout is None else first_dropout)
        self.dropout = Dropout(dropout)
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.out_proj = nn.Linear(hidden_size, outputs)

    def forward(self, hidden: Tensor, starts: Tensor) -> Tensor:
        """Takes hidden states (T, H) and the index of each sequence's first token (B,), returns logits (B, C)."""
        first = self.first_dropout(hidden.index_select(0, starts))  # (B, H)
        logits: Tensor = self.out_proj(self.dropout(self.activation(self.dense(first))))
        return logits


class NormalizedClassifier(nn.Module):
    """Classifier with a normalised hidden layer without biases, on the first token or on every token, as in the classes
    `ModernBertForSequenceClassification`, `ModernBertForMultipleChoice`, `ModernBertForTokenClassification` and
    `ModernBertForQuestionAnswering`. The hidden layer is that of the masked-token head.

    Args:
        config: supplies width, activation, epsilon and dropout.
        outputs: C.
        pools: whether the first token of each sequence is classified, and not every token.
    """

    def __init__(self, config: EncoderConfig, outputs: int, pools: bool) -> None:
        super().__init__()
        self.pools = pools
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps, bias=False)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, outputs)

    def forward(self, hidden: Tensor, starts: Tensor) -> Tensor:
        """Takes hidden states (T, H) and the index of each sequence's first token (B,), returns logits (B, C), or (T,
        C) of every token.
        """
        rows = hidden.index_select(0, starts) if self.pools else hidden
        logits: Tensor = self.classifier(self.dropout(self.layer_norm(self.activation(self.dense(rows)))))
        return logits


class TokenClassifier(nn.Module):
    """Classifier on every token, as in `BertForTokenClassification` and `RobertaForTokenClassification`, and without
    dropout in `BertForQuestionAnswering` and `RobertaForQuestionAnswering`.
    """

    def __init__(self, hidden_size: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.classifier = nn.Linear(hidden_size, outputs)

    def forward(self, hidden: Tensor, starts: Tensor) -> Tensor:
        """Takes hidden states (T, H) and the index of each sequence's first token (B,), returns logits (T, C)."""
        logits: Tensor = self.classifier(self.dropout(hidden))
        return logits


class MeanPooling(nn.Module):
    """Mean of the hidden states of a text's tokens, without parameters.

    Args:
        before: special tokens before the text.
        after: special tokens behind it.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.before, self.after = before, after

    def forward(self, hidden: Tensor, starts: Tensor) -> Tensor:
        """Takes hidden states (T, H) and the index of each sequence's first token (B,), returns means (B, H) in fp32; 0
        for a text without tokens.
        """
        ends = torch.cat((starts[1:], starts.new_tensor([len(hidden)])))
        sizes = (ends - starts).long()
        index = torch.arange(len(hidden), device=hidden.device)
        first = (starts + self.before).repeat_interleave(sizes)
        last = (ends - self.after).repeat_interleave(sizes)
        of_text = ((index >= first) & (index < last)).unsqueeze(1)  # (T, 1)
        sums = torch.segment_reduce(hidden.float() * of_text, "sum", lengths=sizes)  # (B, H)
        return sums / (sizes - self.before - self.after).clamp(min=1).unsqueeze(1)


class TaskModel(nn.Module):
    """An encoder with a head.

    Args:
        encoder: the encoder.
        head: a module of this file.
    """

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, batch: Batch) -> Tensor:
        """Returns the logits of a batch: (B, C), or (T, C) where the head classifies tokens."""
        hidden = self.encoder(
            batch.input_ids, batch.segment_ids, batch.position_ids, batch.cu_seqlens, batch.max_seqlen
        )
        logits: Tensor = self.head(hidden, batch.cu_seqlens[: batch.num_samples])
        return logits


def initialize_head(head: nn.Module, std: float, seed: int) -> None:
    """Draw the weights of a head from a normal distribution, and set its biases to 0.

    Args:
        head: a module of this file.
        std: standard deviation.
        seed: seed of torch's default generator.
    """
    torch.manual_seed(seed)
    head.apply(partial(initialize_weights, std=std))
