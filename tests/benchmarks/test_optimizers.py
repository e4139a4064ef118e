"""Laws of the comparison of optimizers by their share of a training step."""

import json

import pytest

from benchmarks.optimizers import main, orthogonalisation_flops


@pytest.mark.parametrize(("model", "hidden", "layers"), [("mini", 256, 4), ("large", 1024, 24)])
def test_the_operations_are_those_of_five_steps_on_each_matrix(model, hidden, layers):
    """A layer has four square matrices (query, key and value one by one) and two of a width of four times as much;
    a matrix of r x c takes 5 (4 r^2 c + 2 r^3) operations."""
    square, wide = 6 * hidden**3, 4 * 4 * hidden**3 + 2 * hidden**3
    assert orthogonalisation_flops(model) == 5 * layers * (4 * square + 2 * wide)


def test_the_share_is_that_of_a_step_with_all_its_passes(tmp_path, capsys):
    """share = update / (accumulation * passes + update), for each of the three optimizers."""
    main(micro_batch=1, accumulation=3, length=8, masked=1, rounds=1, out=tmp_path / "out.json")
    figures = json.loads((tmp_path / "out.json").read_text())
    ms, printed = figures["ms"], capsys.readouterr().out
    for name in ("lamb", "adamw", "muon"):
        assert figures["shares"][name] == pytest.approx(ms[name] / (3 * ms["forward and backward"] + ms[name]))
        assert f"| {name} | {ms[name]:.1f} " in printed
