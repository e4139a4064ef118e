"""Numbers of weights of a model, counted on the model without memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from torch import Tensor

from pipeline.families.base import AUXILIARY
from pipeline.model.config import EncoderConfig
from pipeline.planning.measure import Build, build_without_memory


@dataclass(frozen=True)
class Parameters:
    """Numbers of weights of a model."""

    total: int
    """All weights of the model, without those of an auxiliary model."""
    word: int
    """Weights of the largest tensor with a row for each token id: the word embeddings, tied to the output layer."""
    layer: int
    """Weights of one layer; if a part of the model has half as many layers, with half of a layer of that part."""
    num_layers: int
    auxiliary: int = 0
    """Weights of an auxiliary model, such as a teacher."""

    @property
    def pieces(self) -> list[int]:
        """Numbers of weights in the order of computation: word embeddings, layers, the rest."""
        return [self.word, *[self.layer] * self.num_layers, self.total - self.word - self.num_layers * self.layer]


@cache
def count_parameters(build: Build, config: EncoderConfig, vocab_size: int) -> Parameters:
    """Count the weights of a model, and those of its layers by means of models of few layers."""
    own, step = own_parameters(build, config, vocab_size), config.layer_step
    shapes = (replace(config, num_hidden_layers=step * n, activation_checkpointing=False) for n in (1, 2))
    few, more = (_numel(own_parameters(build, shape, vocab_size)) for shape in shapes)
    return Parameters(
        total=_numel(own),
        word=max((p.numel() for p in own.values() if len(p) == vocab_size), default=0),
        layer=(more - few) // step,
        num_layers=config.num_hidden_layers,
        auxiliary=_numel(all_parameters(build, config, vocab_size)) - _numel(own),
    )


@cache
def count_matrices(build: Build, config: EncoderConfig, vocab_size: int, is_matrix: Callable[[str], bool]) -> int:
    """Count the weights of the matrices of layers.

    Args:
        build: makes the model from a configuration and the size of the vocabulary.
        config: configuration of the model.
        vocab_size: number of token ids.
        is_matrix: parameter name -> whether it is such a matrix.
    """
    own = own_parameters(build, config, vocab_size)
    return _numel({name: parameter for name, parameter in own.items() if is_matrix(name)})


def all_parameters(build: Build, config: EncoderConfig, vocab_size: int) -> dict[str, Tensor]:
    """Return the parameters of a model and of its auxiliary model; tied ones have one name."""
    return dict(build_without_memory(build, config, vocab_size).named_parameters())


def own_parameters(build: Build, config: EncoderConfig, vocab_size: int) -> dict[str, Tensor]:
    """Return the parameters of a model without those of an auxiliary model."""
    found = all_parameters(build, config, vocab_size)
    return {name: parameter for name, parameter in found.items() if not name.startswith(f"{AUXILIARY}.")}


def _numel(parameters: dict[str, Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters.values())
