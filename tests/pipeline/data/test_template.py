"""Templates that cannot be applied are errors."""

import pytest

from pipeline.data.template import Template


@pytest.mark.parametrize("single", [("cls", "sep"), ("A", "A"), ("cls", "A", "B")])
def test_a_single_segment_stands_once(single):
    """The template of one segment holds A once and no B."""
    with pytest.raises(ValueError, match=r"template.single = .* must hold A once, and no B"):
        Template(single=single)


@pytest.mark.parametrize("pair", [("cls", "A"), ("B", "sep", "A"), ("A", "B", "B")])
def test_a_pair_stands_in_order(pair):
    """The template of two segments holds A and then B, once each."""
    with pytest.raises(ValueError, match=r"template.pair = .* must hold A and then B, once each"):
        Template(pair=pair)
