"""Laws of the comparison of a recipe's variants."""

import json

from benchmarks.learning import row


def write_run(run, losses):
    """Writes the metrics of a run whose held-out losses are given by step."""
    run.mkdir()
    lines = [{"kind": "train", "step": step, "time": 0.0, "sequences_per_second": 10.0 * step} for step in losses]
    for step, loss in losses.items():
        figures = {"mlm_loss": loss, "mlm_accuracy": 1 / loss, "mlm_order_gap": loss / 10}
        lines.append({"kind": "heldout", "step": step, "time": 0.0, **figures})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_a_row_has_the_medians_over_seeds_and_the_range_at_the_end(tmp_path):
    """Losses, accuracy, order gap and speed are medians over the runs, at the steps that all runs evaluated."""
    ends = [4.0, 2.0, 5.0]
    runs = [write_run(tmp_path / str(i), {1: 6.0, 2: end} | ({3: 1.0} if i == 0 else {})) for i, end in enumerate(ends)]
    assert row("all", runs) == "| all | 1: 6.00 | 4.000 | 2.000 to 5.000 | 0.250 | 0.40 | 20 |"


def test_runs_without_an_order_gap_have_none_in_their_row(tmp_path):
    """A recipe with `evaluation.order_gap_samples = 0` has all other figures."""
    run = write_run(tmp_path / "run", {1: 6.0, 2: 4.0})
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in line.items() if key != "mlm_order_gap"} for line in lines]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    assert row("all", [run]) == "| all | 1: 6.00 | 4.000 | 4.000 to 4.000 | 0.250 |  | 15 |"
