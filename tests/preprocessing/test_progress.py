"""Laws of preprocessing/progress.py."""

import logging
import sys

from preprocessing import progress as module
from preprocessing.progress import LogLines, progress


def test_without_a_terminal_a_line_comes_every_ten_seconds(monkeypatch, caplog):
    """Without a terminal, a line with amount, rate and remaining time is printed at most every ten seconds."""
    clock = iter([0.0, 4.0, 10.0, 12.0, 25.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    lines = LogLines(100_000_000, "build")
    with caplog.at_level(logging.INFO, logger="preprocessing"):
        for _ in range(4):
            lines.update(10_000_000)
    assert [record.message for record in caplog.records] == [
        "build: 20 of 100 MB, 2.0 MB/s, 1 min left",
        "build: 40 of 100 MB, 1.6 MB/s, 1 min left",
    ]


def test_on_a_terminal_there_is_a_bar(monkeypatch, capsys):
    """On a terminal, there is tqdm's bar with the label."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress(2_000_000, "extract") as bar:
        bar.update(2_000_000)
    assert "extract: 100%" in capsys.readouterr().err
