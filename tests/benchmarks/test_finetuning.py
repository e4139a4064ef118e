"""The table of speeds has medians over rounds, and ratios of rounds that were measured side by side."""

from benchmarks.finetuning import Taken, ratios, row


def test_rates_and_ratios_are_medians_over_rounds():
    """A round on a busy machine moves neither the rate nor the ratio, because both sides of a round are compared."""
    ours = [Taken(clock=2, processor=1), Taken(clock=20, processor=10), Taken(clock=2, processor=1)]
    theirs = [Taken(clock=4, processor=3), Taken(clock=40, processor=20), Taken(clock=4, processor=3)]
    assert row("ours", ours, samples=8) == "| ours | 4.00 | 8.00 |"
    assert ratios(ours, theirs) == "| ratio | 2.00 (2.00 to 2.00) | 3.00 (2.00 to 3.00) |"
