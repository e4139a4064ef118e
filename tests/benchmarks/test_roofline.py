"""The table of lower bounds agrees with the model's operations, and with the documentation."""

import json
from pathlib import Path

import pytest

from benchmarks import roofline
from benchmarks.roofline import Operation, bound, parts, phase_of, product, table
from pipeline.planning.cluster import Cluster
from pipeline.runtime.devices import DEVICES

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ["bert_large_phase1", "bert_large_phase2", "bert_base_phase1", "roberta_base"]
SMALL = "bert_mini"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_documentation_has_the_table(recipe):
    """The script keeps the table in docs/benchmarks.md; `python -m benchmarks.roofline` prints the present one."""
    assert table(recipe, ["a100", "h100", "h200"], 8) in (ROOT / "docs/benchmarks.md").read_text()


def test_operations_are_those_of_the_model():
    """Products and attention together have the operations that torch counts on the model, in FP8 as well."""
    phase, batch = phase_of(SMALL)
    counted = phase.cost.flops(
        num_tokens=batch.tokens, sum_squared_lengths=batch.squares, num_masked=batch.masked, num_samples=0
    )
    for fp8 in (False, True):
        found = sum(
            operation.flops for operations in parts(phase, batch, fp8, True).values() for operation in operations
        )
        assert found == pytest.approx(counted, rel=1e-6)


def test_an_operation_is_bound_by_its_products_or_by_its_bytes():
    """An H100 takes a second for 989 TFLOP in bf16, half of it in FP8, and for 3,350 GB."""
    device = DEVICES["h100"]
    assert Operation(989e12, 3e9).seconds(device) == 1.0
    assert Operation(989e12, 3e9, in_fp8=True).seconds(device) == pytest.approx(0.5, rel=1e-3)
    assert Operation(1e12, 3350e9).seconds(device) == 1.0
    assert [each.in_fp8 for each in product(64, 32, 16, fp8=True)].count(True) == 2


def test_update_and_reduction_are_divided_among_gpus_and_micro_batches():
    """One GPU updates all parameters and sends nothing; eight update and send a share of them."""
    phase, batch = phase_of(SMALL)
    device = DEVICES["h100"]
    alone, together = (
        bound(phase, batch, Cluster(device, 1, 1, 50), 1),
        bound(phase, batch, Cluster(device, 8, 8, 50), 4),
    )
    assert alone.gigabytes["update"] == pytest.approx(32 * together.gigabytes["update"])
    assert alone.seconds["reduction"] == 0.0 < together.seconds["reduction"]
    assert alone.total == pytest.approx(sum(alone.seconds.values()))


def test_measured_steps_stand_beside_their_bounds(tmp_path, monkeypatch):
    """Cases of the section `steps` are read by their names; a run of another device is an error."""
    monkeypatch.setattr(roofline, "MEASURED", SMALL)
    steps = {
        "phase1 256, dropout 0.1": {"sequences_per_second": 1800.0},
        "phase1 256, dropout 0.1, fp8 native": {"sequences_per_second": 2200.0},
        "phase2 64, dropout 0": {"sequences_per_second": 600.0},
        "phase1 512, dropout 0": {"error": "out of memory"},
    }
    content = {"device": "NVIDIA H100 80GB HBM3", "tiny": False, "sections": {"steps": steps}}
    (tmp_path / "gpu.json").write_text(json.dumps(content))
    rows = [line.split(" | ") for line in roofline.measured(tmp_path / "gpu.json").splitlines()[2:]]
    measured = [float(row[1].replace(",", "")) for row in rows]
    most = [float(row[2].replace(",", "")) for row in rows]
    assert measured == [1800, 2200, 600] and all(a < b for a, b in zip(measured, most, strict=True))
    assert most[1] < most[0], "at 256 features, quantisation takes longer than FP8 saves"
    (tmp_path / "gpu.json").write_text(json.dumps(content | {"device": "cpu"}))
    with pytest.raises(ValueError, match=r"must have the section steps"):
        roofline.measured(tmp_path / "gpu.json")
    with pytest.raises(ValueError, match=r"--devices: there is no GPU h300; there are v100"):
        roofline.main(devices=["h300"])
