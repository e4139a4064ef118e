"""A pre-trained model as its authors' files hold it, under the names of `transformers`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Source:
    """A model that has been found on disk, and of which only names and shapes have been read."""

    path: Path
    """Directory or file, for messages."""
    fields: Mapping[str, Any]
    """Fields of a `config.json` of `transformers`; those that are absent have the defaults of the class."""
    outlines: Mapping[str, Tensor]
    """The parameters as meta tensors, under their names in `transformers`, older ones included."""
    values: Callable[[], Tensors]
    """Reads the same parameters in fp32; raises ValueError where a value is NaN or infinite."""
    tokenizer: Path
    """Directory that holds the tokenizer's files."""
    config: str = "config.json"
    """Name of the file with the configuration, for messages."""
    left_out: tuple[str, ...] = ()
    """Parts of the model that were not read, such as the state of an optimizer."""
    notes: tuple[str, ...] = ()
    """Sentences about what the layout leaves open, and how it was read."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Files of the tokenizer that the layout has under another name or in another form: name -> content."""
