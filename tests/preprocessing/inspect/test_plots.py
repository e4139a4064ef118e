"""Laws of preprocessing/inspect/plots.py."""

import re
from xml.etree import ElementTree

import pytest

from preprocessing.inspect import plots

PLOTS = [plots.lengths, plots.openings, plots.frequencies]


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_is_an_svg_in_the_colours_of_the_page(figures_of, make_random, plot):
    """Well-formed, text as text, labelled axes, every colour a variable."""
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
    """No dates, no random ids: equal figures give equal bytes."""
    figures = figures_of(make_random(300), make_random(50, 1))
    assert plot(figures) == plot(figures)


@pytest.mark.parametrize("plot", PLOTS)
def test_an_empty_split_has_no_curve(figures_of, make_random, plot):
    """The other split is drawn all the same; a plot of pairs does without those that are none."""
    assert "held out" not in plot(figures_of(make_random(30), []))
