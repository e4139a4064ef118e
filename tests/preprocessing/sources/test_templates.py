"""Laws of preprocessing/sources/templates.py."""

import time

import pytest

from preprocessing.sources.templates import TEXT_TEMPLATES, template_name, template_text

TEXTS = [
    ("lang|fr|mot juste", "mot juste"),
    ("Lang|fr|mot|italic=no", "Mot"),
    ("transl|ar|DIN|kitāb", "kitāb"),
    ("convert|5|km|mi|abbr=on", "5 km"),
    ("convert|1,200|to|2,000|sqmi", "1,200 to 2,000 square miles"),
    ("cvt|5|x|6|m", "5 by 6 m"),
    ("as of|2010|lc=y", "as of 2010"),
    ("As of|2010", "As of 2010"),
    ("blockquote|text=To be.|author=Hamlet", "\n\nTo be.\n\n"),
    ("nowrap|1=5 = 3 + 2", "5 = 3 + 2"),
    ("no_wrap|a b", "a b"),
    ("snd", " – "),
    ("lang", ""),
    ("convert", ""),
    ("circa", ""),
]


@pytest.mark.parametrize(("content", "text"), TEXTS)
def test_text_is_told_from_the_arguments(content, text):
    """As MediaWiki shows it, or nothing where the argument is missing."""
    assert template_text(content) == text


@pytest.mark.parametrize("name", TEXT_TEMPLATES)
def test_any_arguments_will_do(name):
    """No number of arguments is an error."""
    assert template_name(name) == name
    for number in range(5):
        assert isinstance(template_text("|".join([name, *["x"] * number])), str)


@pytest.mark.parametrize("argument", ["a" + " " * 100_000, " " * 100_000, "1 " * 50_000, "a=" * 50_000])
def test_time_is_linear(argument):
    """Also where an argument looks like a name without end."""
    start = time.process_time()
    template_text(f"convert|{argument}")
    assert time.process_time() - start < 5
