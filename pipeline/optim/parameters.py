"""What an optimizer asks about a parameter by its name."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Parameters:
    """The answers of a family."""

    decays: Callable[[str], bool]
    """Parameter name -> whether it takes weight decay and, in LAMB, a trust ratio."""
    stacks: Callable[[str], int] = lambda name: 1
    """Parameter name -> how many tensors of the reference implementation it stacks; LAMB gives each its own ratio, and
    Muon orthogonalises each by itself."""
    is_matrix: Callable[[str], bool] = lambda name: False
    """Parameter name -> whether it is a matrix of a layer, which Muon orthogonalises. Embeddings, heads, biases and
    layer normalisation are not."""
