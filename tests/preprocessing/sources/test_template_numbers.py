"""Laws of preprocessing/sources/template_numbers.py."""

import pytest

from preprocessing.sources.template_numbers import NumberStyle, format_amount, format_number, ordinal, roman, val
from preprocessing.sources.template_patterns import read_arguments

FRENCH = NumberStyle(" ", ",")

VALUES = [
    ("1.98|e=30|u=kg", "1.98 × 10^30 kg"),
    ("e=-6", "10^−6"),
    ("5", "5"),
    ("12345|fmt=commas|ul=km", "12,345 km"),
    ("1.98|0.02|u=kg", "1.98±0.02 kg"),
    ("1.98|0.02|e=30|u=kg", "(1.98±0.02) × 10^30 kg"),
    ("1.234|(12)|u=m", "1.234(12) m"),
    ("1|0.5|0.3|u=s", "1 +0.5 −0.3 s"),
    ("6|-|8|u=mm", "6–8 mm"),
    ("5|u=%", "5%"),
    ("5|u=m|up=s", "5 m/s"),
    ("5|p=~|s=!", "~5!"),
    ("x", ""),
    ("5|x|y", ""),
    ("1|2|3|4", ""),
    ("", ""),
]


@pytest.mark.parametrize(("arguments", "text"), VALUES)
def test_values_with_errors_powers_and_units(arguments, text):
    """Values with errors, powers and units are formatted, and arguments that are not understood give nothing."""
    assert val(read_arguments(arguments.split("|"))) == text


def test_numbers_in_a_language():
    """Numbers have the signs of the language, and text that is no number gives None."""
    assert format_number("1234567.89", FRENCH) == "1 234 567,89"
    assert format_number("-12", FRENCH) == "−12"
    assert format_number("1234", NumberStyle(".", ",", 5)) == "1234"
    assert format_number("12,5", FRENCH) is None
    assert format_amount("24000 ports", FRENCH) == "24 000 ports"
    assert format_amount("26,2", FRENCH) == "26,2"
    assert format_amount("9%", FRENCH) == "9%"
    assert format_amount("1,234.5", FRENCH) is None
    assert format_amount("many", FRENCH) is None


def test_roman_and_ordinal_numbers():
    """Roman and ordinal numbers are formatted, and a number that has no such form gives None."""
    assert [roman(text) for text in ("14", "1990", "0", "4000", "x")] == ["XIV", "MCMXC", None, None, None]
    assert [ordinal(text) for text in ("1", "22", "13", "x")] == ["1st", "22nd", "13th", None]
