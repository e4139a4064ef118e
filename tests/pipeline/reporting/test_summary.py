"""The summary shows the metrics of each term."""

from pathlib import Path

from pipeline.reporting.summary import summary
from pipeline.runlog.reader import Run


def heldout(step, **values):
    return {"kind": "heldout", "step": step} | values


def test_the_first_and_the_last_evaluation_are_shown():
    """Each figure of each term is shown at the first and the last evaluation; one that is not finite is shown as such,
    and a missing one has no row.
    """
    lines = [
        heldout(0, mlm_loss=9.5, mlm_accuracy=0.0, nsp_loss=0.7),
        heldout(8, mlm_loss=2.25, mlm_accuracy=0.5, nsp_loss=None),
        {"kind": "train", "step": 8, "tokens_per_second": 1500.0, "peak_memory_gib": 2.5},
    ]
    rows = [row.split() for row in summary(Run("run", Path("run"), lines)).splitlines()]
    assert rows[0] == ["run,", "8", "steps"]
    assert rows[2:4] == [["mlm_loss", "9.5000", "2.2500"], ["mlm_accuracy", "0.0000", "0.5000"]]
    assert rows[4] == ["nsp_loss", "0.7000", "not", "finite"]
    assert rows[5][2:4] == ["1,500", "peak"] and len(rows) == 6


def test_averaged_weights_have_a_column():
    """Their metrics are beside those of the last weights."""
    lines = [
        heldout(0, mlm_loss=9.5, mlm_accuracy=0.0),
        heldout(8, mlm_loss=2.25, mlm_accuracy=0.5),
        {"kind": "train", "step": 8},
        {"kind": "averaged", "step": 8, "mlm_loss": 2.125, "mlm_accuracy": 0.625},
    ]
    rows = [row.split() for row in summary(Run("run", Path("run"), lines)).splitlines()]
    assert rows[1][-2:] == ["averaged", "weights"]
    assert rows[2:4] == [["mlm_loss", "9.5000", "2.2500", "2.1250"], ["mlm_accuracy", "0.0000", "0.5000", "0.6250"]]
