"""Properties of parameters that an optimizer needs, as functions of the parameter's name."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Parameters:
    """The properties of the parameters of a model family."""

    decays: Callable[[str], bool]
    """Whether the parameter has weight decay and, in LAMB, a trust ratio."""
    stacks: Callable[[str], int] = lambda name: 1
    """Number of tensors of the reference implementation that the parameter stacks. In LAMB each of them has its own
    trust ratio, and Muon orthogonalises each separately."""
    is_matrix: Callable[[str], bool] = lambda name: False
    """Whether the parameter is a matrix of a layer, which Muon orthogonalises. Embeddings, heads, biases and layer
    normalisation are not."""
