"""Settings of the engine that contradict each other are errors; other tests train with it."""

import pytest

from pipeline.engine.engine import EngineConfig, read_settings


def test_precision_has_one_home():
    """With a JSON file without placeholder in its name, which sets the precision, the recipe's precision
    is an error.
    """
    with pytest.raises(ValueError, match=r"engine.precision = bf16, but engine.deepspeed"):
        EngineConfig(deepspeed="mine.json", precision="bf16")


def test_tf32_is_for_fp32_only():
    """TensorFloat-32 together with bf16 is an error, and it does not change the settings of DeepSpeed in fp32."""
    with pytest.raises(ValueError, match=r"engine.tf32 = true, but .*zero2_bf16.json trains in bf16"):
        read_settings(EngineConfig(precision="bf16", tf32=True))
    assert read_settings(EngineConfig(precision="fp32", tf32=True)) == read_settings(EngineConfig(precision="fp32"))
