"""Laws of pipeline/planning/timeline.py: the peak and the heap of a record of blocks."""

import pytest

from pipeline.planning.timeline import WASTE, Timeline


def test_most_live_is_the_fullest_moment():
    """The peak has the parts and the phase of the fullest moment, not those of the end."""
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
    """Freed memory is used for blocks of equal or slightly smaller size; it is not divided for small ones, and the heap
    grows for larger ones.
    """
    timeline = Timeline()
    timeline.give(timeline.take("a", 100))
    timeline.take("b", size)
    expected = 100 + (size if grown else 0)
    assert timeline.high_water() == expected


def test_heap_never_shrinks_and_repeating_a_step_needs_nothing_new():
    """A repeated step places its blocks where they were, so the heap does not grow."""
    once, twice = Timeline(), Timeline()
    for timeline, repeats in ((once, 1), (twice, 5)):
        for _ in range(repeats):
            blocks = [timeline.take("a", size) for size in (7, 50, 900)]
            timeline.give(*blocks)
    assert once.high_water() == twice.high_water() == 957


def test_heap_is_at_least_what_is_live():
    """In any order of blocks, the heap is at least as large as the live blocks."""
    timeline = Timeline()
    blocks = [timeline.take("a", size) for size in range(1, 40)]
    timeline.give(*blocks[::3])
    for size in range(5, 30):
        timeline.take("b", size)
    assert timeline.high_water() >= timeline.most_live()[0].total()
