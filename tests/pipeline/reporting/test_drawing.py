"""Laws of pipeline/reporting/drawing.py."""

from pipeline.reporting.drawing import COLORS, color, label


def test_names_in_a_legend():
    """Names in a legend are short and in one line, and a leading underscore, for which matplotlib would omit them, is
    hidden.
    """
    assert label("_x") == " _x"
    assert label("a\nb") == "a b"
    assert len(label("long" * 30)) == 30 and label("long" * 30).startswith("longlong")


def test_runs_are_told_apart_by_color_and_line():
    """The first runs have different colours, and later ones repeat them with dashed lines."""
    styles = [tuple(color(number).values()) for number in range(2 * len(COLORS))]
    assert len(set(styles)) == len(styles)
