"""Trust ratios are assigned to the layers of their tensors."""

import io

import pytest
from PIL import Image

from pipeline.families import get_family
from pipeline.families.bert import BertConfig
from pipeline.reporting.ratios import layer, ratios_of, trust_ratios
from pipeline.runlog.reader import read_run
from tests.made_runs import event, make_run, ratios


def test_every_tensor_of_a_model_has_its_row():
    """Every tensor of a model is in the row of its layer, in the order of the forward pass, with the
    heads at the end.
    """
    model = get_family("bert").build(BertConfig(8, 11, 2, 16), 20)
    rows = [name for _, name in sorted({layer(name) for name, _ in model.named_parameters()})]
    assert rows == ["embeddings", *(f"layer {i}" for i in range(11)), "mlm head", "pair head", "pooler"]
    assert layer("encoder.layers.10.qkv.weight.0") == (10, "layer 10")


@pytest.mark.parametrize("lines", [[ratios(5)], [ratios(5), ratios(10)], [ratios(s, 24) for s in range(500)]])
def test_pictures(tmp_path, lines):
    """Pictures are drawn of one step, of two, and of more than there are columns; they are higher with more layers."""
    pictures = trust_ratios(read_run(make_run(tmp_path / "run", 1, lines=lines), "run"), 0, 1)
    assert [p.slug for p in pictures] == ["trust-ratio-layers", "trust-ratio-spread"]
    height = Image.open(io.BytesIO(pictures[0].png)).height
    assert (height > 900) == (len(lines) > 2)


def test_ratios_that_cannot_be_drawn(tmp_path):
    """Zero, infinite and missing ratios are skipped, equal ones are drawn, and without ratios there is no figure."""
    assert ratios_of({"ratios": {"a": 0.0, "b": None, "c": 2.0, "d": float("inf")}}) == {"c": 2.0}
    assert ratios_of({"ratios": [1.0]}) == ratios_of({}) == {}
    alike = [event("trust_ratio", step, ratios={"encoder.layers.0.output.weight": 1.0}) for step in (1, 2)]
    empty = [event("trust_ratio", 3, ratios={})]
    assert len(trust_ratios(read_run(make_run(tmp_path / "alike", 1, lines=alike + empty), "$"), 1, 2)) == 2
    assert trust_ratios(read_run(make_run(tmp_path / "none", 1, lines=empty), "none"), 0, 1) == []
