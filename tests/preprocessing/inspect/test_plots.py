"""Laws of preprocessing/inspect/plots.py."""

import re
from xml.etree import ElementTree

import pytest

from preprocessing.inspect import plots

PLOTS = [plots.lengths, plots.openings, plots.frequencies]


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_is_an_svg_in_the_colours_of_the_page(figures_of, make_random, plot):
    """A plot is well-formed SVG with text as text, labelled axes, and colours that are variables."""
    svg = plot(figures_of(make_random(300), make_random(50, 1)))
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and root.attrib["aria-label"]
    texts = ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")]
    assert {"training", "held out"} <= set(texts)
    assert any("share of" in text for text in texts) and any("token" in text or "pair" in text for text in texts)
    assert set(re.findall(r"var\(--(\w+)\)", svg)) >= {"ink", "muted", "line", "train", "heldout"}
    assert not re.findall(r"#[0-9a-fA-F]{6}\b", svg)


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_is_a_function_of_the_figures(figures_of, make_random, plot):
    """Equal figures give a plot of equal bytes, without dates and random ids."""
    figures = figures_of(make_random(300), make_random(50, 1))
    assert plot(figures) == plot(figures)


@pytest.mark.parametrize("plot", PLOTS)
def test_an_empty_split_has_no_curve(figures_of, make_random, plot):
    """If one split is empty, the other is drawn, and a plot of pairs omits splits without pairs."""
    assert "held out" not in plot(figures_of(make_random(30), []))
