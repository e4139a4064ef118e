"""Laws of benchmarks/collectives.py."""

from contextlib import redirect_stdout
from io import StringIO

from ranks import on_ranks


def printed():
    from benchmarks.collectives import main

    with redirect_stdout(StringIO()) as text:
        main(elements=1001, rounds=2)
    return text.getvalue()


def test_the_first_of_two_ranks_prints_every_collective():
    """Every collective has a line with a time, also where the elements cannot be divided equally."""
    first, second = on_ranks(printed, 2)
    lines = [line for line in first.splitlines() if line.startswith("| all-") or line.startswith("| reduce-")]
    assert len(lines) == 3 and all(float(line.split("|")[2].split()[0]) >= 0 for line in lines)
    assert second == ""
