"""The speed run reads the figures of a run, and rejects samples that cannot be carried."""

import pytest
import toml
from samples import make_samples

from benchmarks import speedrun
from tests.made_runs import make_run, start


def test_the_table_has_a_row_for_each_evaluation(tmp_path):
    """Minutes are counted from the first evaluation, before the first step."""
    begin = 1000.0
    lines = [
        {"kind": "heldout", "step": step, "time": begin + 30 * step, "mlm_loss": 9.0 - step, "mlm_accuracy": 0.1}
        for step in (0, 4)
    ]
    rows = speedrun.table(make_run(tmp_path / "run", 5, lines=lines, events=[start(0)])).splitlines()
    assert rows[0] == "| minutes | step | mlm_loss | mlm_accuracy |"
    assert rows[2:] == ["| 0.0 | 0 | 9.000 | 0.100 |", "| 2.0 | 4 | 5.000 | 0.100 |"]


def test_samples_that_are_too_large_are_an_error(tmp_path, monkeypatch):
    """The error names the directory and its size; a directory without samples is one, too."""
    samples = make_samples(tmp_path / "samples")
    assert 0 < speedrun.size_mb(samples) < 1
    monkeypatch.setattr(speedrun, "MOST_MB", 1e-3)
    with pytest.raises(ValueError, match=r"samples = .*samples: 0 MB, more than 0.001; build them from less text"):
        speedrun.size_mb(samples)
    with pytest.raises(ValueError, match="no directory of samples"):
        speedrun.size_mb(tmp_path)


@pytest.mark.slow
def test_a_recipe_is_trained_and_its_curve_printed(tmp_path, capsys):
    """A recipe that evaluates every 500 steps is evaluated every 50 on up to 2,048 samples; options have precedence."""
    recipe = tmp_path / "tiny.toml"
    shape = "hidden_size = 16\nnum_hidden_layers = 1\nnum_attention_heads = 2\nintermediate_size = 32"
    recipe.write_text(
        f"[model]\n{shape}\n[batch]\nglobal_batch_size = 8\nmicro_batch_size = 8\n[evaluation]\nevery = 500"
    )
    samples = make_samples(tmp_path / "samples")
    options = ["--schedule.minutes", "0", "--schedule.total_steps", "60"]
    speedrun.main(str(recipe), samples, minutes=5, out=tmp_path / "out", options=options)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[1] for row in rows] == ["step", "0", "50", "60"]
    evaluation = toml.loads((tmp_path / "out" / "run" / "recipe.toml").read_text())["evaluation"]
    assert (evaluation["every"], evaluation["samples"]) == (50, 2048)
