"""Two readings of one record of blocks."""

import pytest

from pipeline.planning.timeline import WASTE, Timeline


def test_most_live_is_the_fullest_moment():
    """Its parts and its phase, not those of the end."""
    timeline = Timeline()
    timeline.phase("forward")
    kept = timeline.take("activations", 10)
    timeline.phase("backward")
    timeline.give(timeline.take("temporaries", 5))
    timeline.give(kept)
    timeline.phase("step")
    timeline.take("moments", 12)
    parts, phase = timeline.most_live()
    assert ({name: size for name, size in parts.items() if size}, phase) == (
        {"activations": 10, "temporaries": 5},
        "backward",
    )


@pytest.mark.parametrize(("size", "grown"), [(100, 0), (int(100 / WASTE), 100), (95, 0), (101, 101), (40, 40)])
def test_a_hole_serves_blocks_of_about_its_size(size, grown):
    """Equal or a little smaller; it is not split for small ones, and the heap grows for larger ones."""
    timeline = Timeline()
    timeline.give(timeline.take("a", 100))
    timeline.take("b", size)
    expected = 100 + (size if grown else 0)
    assert timeline.high_water() == expected


def test_heap_never_shrinks_and_repeating_a_step_needs_nothing_new():
    """The second time everything is put where it was."""
    once, twice = Timeline(), Timeline()
    for timeline, repeats in ((once, 1), (twice, 5)):
        for _ in range(repeats):
            blocks = [timeline.take("a", size) for size in (7, 50, 900)]
            timeline.give(*blocks)
    assert once.high_water() == twice.high_water() == 957


def test_heap_is_at_least_what_is_live():
    """A lower bound, whatever the order."""
    timeline = Timeline()
    blocks = [timeline.take("a", size) for size in range(1, 40)]
    timeline.give(*blocks[::3])
    for size in range(5, 30):
        timeline.take("b", size)
    assert timeline.high_water() >= timeline.most_live()[0].total()
