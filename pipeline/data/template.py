"""Templates: the special tokens around the segments of a sample, and the origin of segment ids and positions.

The template of a family is the only place that knows this order; `pipeline.data.packing` applies it.
"""

from dataclasses import dataclass

FIRST, SECOND = "A", "B"
"""The segments in a template; every other entry is the role of a special token."""


@dataclass(frozen=True)
class Template:
    """The special tokens around the segments of a sample, by role: "cls", "sep"."""

    single: tuple[str, ...] = ("cls", FIRST, "sep")
    """Entries of a sample of one segment."""
    pair: tuple[str, ...] = ("cls", FIRST, "sep", SECOND, "sep")
    """Entries of a sample of two segments."""
    segments: bool = True
    """Whether the model reads segment ids."""
    first_position: int = 0
    """Position id of a sample's first token."""
    pad_id: int | None = None
    """Required id of the padding token, if the model's class in `transformers` counts positions from it; else None."""

    def __post_init__(self) -> None:
        if self.single.count(FIRST) != 1 or SECOND in self.single:
            raise ValueError(f"template.single = {self.single}: must hold {FIRST} once, and no {SECOND}")
        if [entry for entry in self.pair if entry in (FIRST, SECOND)] != [FIRST, SECOND]:
            raise ValueError(f"template.pair = {self.pair}: must hold {FIRST} and then {SECOND}, once each")
