"""Laws of preprocessing/sources/template_patterns.py."""

import pytest

from preprocessing.sources.template_patterns import compile_pattern, read_arguments

FILTERS = {"month": {"5": "mai"}.get, "upper": str.upper}

PATTERNS = [
    ("{1}", "a|b", "a"),
    ("{-1}", "a|b", "b"),
    ("{label,2,1}", "a||label=", "a"),
    ("{label,2,1}", "a|b", "b"),
    ("{1}{2=e} siècle", "XIX", "XIXe siècle"),
    ("{1}{2=e} siècle", "I|er", "Ier siècle"),
    ("{1}[ ({2})]", "a", "a"),
    ("{1}[ ({2}[, {3}])]", "a|b|c", "a (b, c)"),
    ("{1} {2}", "a", ""),
    ("{1} {2} || {1}", "a", "a"),
    ("{2:month} {1}", "1900|5", "mai 1900"),
    ("{2:month} {1}", "1900|mai", "mai 1900"),
    ("{2:month!} {1} || {1}", "1900|mai", "1900"),
    ("{1:upper}", "a", "A"),
    ("{1+, }", "a||b|c", "a, b, c"),
    ("{2+}", "a|b|c", "bc"),
    ("{#1}{1} || {2}", "a|b", "b"),
    ("[; p: {p}][; q: {q}]", "q=x", "q: x"),
    (r"{1} \[sic\]", "a", "a [sic]"),
    ("{1}", "1=a = b", "a = b"),
    ("{1}", " a ", "a"),
    ("{1}", "http://x.org?a=b", "http://x.org?a=b"),
    ("{*}e", "", "XIXe"),
]


@pytest.mark.parametrize(("pattern", "arguments", "text"), PATTERNS)
def test_patterns_are_filled_with_arguments(pattern, arguments, text):
    """Patterns are filled with arguments as the module's table states."""
    parts = arguments.split("|") if arguments else []
    assert compile_pattern(pattern, FILTERS)(read_arguments(parts, "XIX")) == text


@pytest.mark.parametrize("pattern", ["{1", "1}", "{1:unknown}", "a]", "{}"])
def test_a_malformed_pattern_is_an_error(pattern):
    """A malformed pattern is an error when the table is read."""
    with pytest.raises(ValueError):
        compile_pattern(pattern, FILTERS)
