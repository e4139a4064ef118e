"""Progress is shown on one rank, as a bar on a terminal and otherwise as lines at intervals."""

from pipeline.runtime.progress import Progress


def test_lines_without_a_terminal(capsys):
    """Without a terminal, the first and the last step are printed, and those between at most every ten seconds."""
    progress = Progress(total=50, done=20, label="run", enabled=True)
    for _ in range(30):
        progress.advance("loss 1.0")
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["run 21/50", "run 50/50"]
    assert lines[-1].endswith("loss 1.0  remaining 0 s")


def test_other_ranks_are_silent(capsys):
    """Nothing is printed where progress is not enabled."""
    progress = Progress(total=2, done=0, label="run", enabled=False)
    progress.say("hello")
    progress.advance("")
    progress.close()
    assert capsys.readouterr() == ("", "")
