"""Hugging Face's classes of every family, trained by a plain loop: the side `stock` of `benchmarks.training --recipe`.

Samples are padded to one length, and logits are computed at every position. Where `transformers` has one class per part
of an objective and none that trains them together (ELECTRA, DistilBERT), the sum of the losses is written here as a
user would. It has no class for the span boundaries of SpanBERT and for the mask decoder of DeBERTa, so that a step does
less than ours there.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.huggingface import PAIR_LABELS, inputs, masked_labels, places
from pipeline.config import Recipe
from pipeline.data.batch import Batch
from pipeline.families import get_family
from pipeline.families.base import Family
from pipeline.model.config import EncoderConfig


class Peer(nn.Module):
    """A model of `transformers` with the loss of a micro-batch.

    Args:
        family: form of the family.
        config: configuration of the model.
        vocab_size: number of tokens.
    """

    def __init__(self, family: Family[Any], config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.family, self.model = family, huggingface_model(family, config, vocab_size)
        self.weights = {term.name: term.weight for term in family.terms}

    def forward(self, batch: Batch, width: int) -> Tensor:
        """Returns the loss () of a micro-batch that is padded to `width` tokens."""
        labels = {"labels": masked_labels(batch, width)}
        pair = PAIR_LABELS.get(self.model.config.model_type)
        if pair and "pair" in batch.targets:
            labels[pair] = batch.targets["pair"]
        out: Tensor = self.model(**inputs(batch, width), **labels).loss
        return out


class ReplacedPeer(Peer):
    """ELECTRA: a generator, and a discriminator with the same embeddings."""

    def __init__(self, family: Family[Any], config: EncoderConfig, vocab_size: int) -> None:
        super().__init__(family.parts[0].family, config, vocab_size)
        part = family.parts[1]
        self.weights = {term.name: term.weight for term in family.terms}
        self.generator = huggingface_model(part.family, part.config(config), vocab_size)
        self.generator.base_model.embeddings = self.model.base_model.embeddings
        self.generator.tie_weights()

    def forward(self, batch: Batch, width: int) -> Tensor:
        """Returns the loss () of a micro-batch, with tokens that follow from the batch's random numbers."""
        given, labels = inputs(batch, width), batch.targets["labels"]
        out = self.generator(**given, labels=masked_labels(batch, width))
        rows = places(batch, width).index_select(0, batch.targets["positions"])  # (M,)
        with torch.no_grad():
            bounds = out.logits.flatten(0, 1).index_select(0, rows).float().softmax(1).cumsum(1)  # (M, V)
            sampled = (bounds <= batch.targets["uniform"][:, None]).sum(1).clamp(max=bounds.shape[1] - 1)
        tokens = given["input_ids"].flatten().index_copy(0, rows, sampled).view(-1, width)
        replaced = torch.zeros(tokens.numel(), dtype=torch.long).index_copy(0, rows, (sampled != labels).long())
        found = self.model(**{**given, "input_ids": tokens}, labels=replaced.view(-1, width)).loss
        total: Tensor = self.weights["mlm"] * out.loss + self.weights["rtd"] * found
        return total


class DistilledPeer(Peer):
    """DistilBERT, and a teacher of the same class with twice as many layers."""

    def __init__(self, family: Family[Any], config: Any, vocab_size: int) -> None:
        super().__init__(family, config, vocab_size)
        self.temperature: float = config.temperature
        theirs = type(self.model.config)(**self.model.config.to_dict() | {"n_layers": 2 * config.num_hidden_layers})
        self.teacher = (type(self.model)(theirs).eval().requires_grad_(False),)  # no module: not trained

    def forward(self, batch: Batch, width: int) -> Tensor:
        """Returns the loss () of a micro-batch."""
        given = inputs(batch, width) | {"output_hidden_states": True}
        out = self.model(**given, labels=masked_labels(batch, width))
        with torch.no_grad():
            taught = self.teacher[0](**given)
        rows = places(batch, width)
        masked = rows.index_select(0, batch.targets["positions"])
        ours, theirs = (
            (each.logits.flatten(0, 1).index_select(0, masked).float() / self.temperature).log_softmax(1)
            for each in (out, taught)
        )
        soft = self.temperature**2 * functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        states = (each.hidden_states[-1].flatten(0, 1).index_select(0, rows).float() for each in (out, taught))
        distance = 1 - functional.cosine_similarity(*states).mean()
        total: Tensor = self.weights["mlm"] * out.loss + self.weights["soft"] * soft + self.weights["cos"] * distance
        return total


def peer(recipe: Recipe, vocab_size: int) -> Peer:
    """Return the model of a recipe as `transformers` has it, with its initial weights.

    Raises:
        ValueError: `transformers` lacks a part of it.
    """
    family = get_family(recipe.family).of(recipe.model)
    terms = {term.name for term in family.terms}
    if "rtd" in terms and family.parts[0].family.export.unread:
        raise ValueError(f"model.objective: transformers has no counterpart of {family.name} with {family.setting}")
    kind = ReplacedPeer if "rtd" in terms else DistilledPeer if "soft" in terms else Peer
    return kind(family, recipe.model, vocab_size)


def huggingface_model(family: Family[Any], config: EncoderConfig, vocab_size: int) -> Any:
    """Return a model of the class to which a family is exported, with the settings of `transformers`."""
    import transformers

    model_class = getattr(transformers, family.export.model_class)
    return model_class(model_class.config_class(**family.export.config_to(config, vocab_size)))
