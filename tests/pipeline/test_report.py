"""A report shows what the metrics hold, and says so when there are none."""

import json

import pytest
from PIL import Image

from pipeline.report import report


def lines(steps):
    for step in range(steps):
        values = {"mlm_loss": 9 - step / 10, "mlm_accuracy": step / 100, "nsp_loss": 0.7, "nsp_accuracy": 0.5}
        yield {"kind": "heldout", "step": step, "time": 60.0 * step, **values}
        yield {
            "kind": "train",
            "step": step + 1,
            "time": 60.0 * step,
            "tokens_per_second": 1000 + step,
            "peak_memory_gib": 1.5,
            **values,
        }


def test_summary_and_picture(tmp_path, capsys):
    """First and last held-out figures in a table, and a PNG with six panels."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines(5)))
    report([str(run), "--out", str(tmp_path / "curves.png")])
    text = capsys.readouterr().out
    assert "mlm_loss          9.0000       8.6000" in text
    assert "1,002" in text and "1.5 GiB" in text
    assert Image.open(tmp_path / "curves.png").width > 800


def test_run_without_metrics_is_named(tmp_path):
    """The path, and what to give instead."""
    with pytest.raises(ValueError, match=r"metrics.jsonl: no such file; give the run_dir"):
        report([str(tmp_path)])
