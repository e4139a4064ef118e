"""Values of `[engine]` that are out of range, or contradict each other, are errors that name the field."""

import pytest

from pipeline.engine.config import EngineConfig


@pytest.mark.parametrize(
    ("field", "wrong", "least"), [("timeout_minutes", 0, 0.01), ("timeout_minutes", -1, 1), ("max_skipped_steps", 0, 1)]
)
def test_least_values(field, wrong, least):
    """A timeout of zero, and a limit of no skipped steps, are errors."""
    EngineConfig(**{field: least})
    with pytest.raises(ValueError, match=rf"^engine.{field} = {wrong}: must be "):
        EngineConfig(**{field: wrong})


def test_the_precision_is_stated_once():
    """The precision is set either by the recipe or by a JSON file without {precision} in its name."""
    EngineConfig(deepspeed="mine.json")
    EngineConfig(deepspeed="mine_{precision}.json", precision="bf16")
    with pytest.raises(ValueError, match=r"precision = bf16, but engine.deepspeed = mine.json has no .precision."):
        EngineConfig(deepspeed="mine.json", precision="bf16")
