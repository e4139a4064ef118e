"""Laws of preprocessing/sources/template_convert.py."""

import pytest

from preprocessing.sources.template_convert import convert
from preprocessing.sources.template_patterns import read_arguments

QUANTITIES = [
    ("5|km|mi|abbr=on", "5 km"),
    ("6|ft|2|in|cm", "6 ft 2 in"),
    ("4|C-change", "4 °C"),
    ("1,200|to|2,000|sqmi", "1,200 to 2,000 square miles"),
    ("5|x|6|m", "5 by 6 m"),
    ("60|-|170|kg|lb", "60–170 kg"),
    ("5|and|10|and|15|km", "5 and 10 and 15 km"),
    ("1969|m", "1,969 m"),
    ("1969|m|comma=off", "1969 m"),
    ("-40|F|C", "−40 °F"),
    ("5+1/2|in|mm", "5 1⁄2 in"),
    ("1/2|mile", "1⁄2 miles"),
    ("1|acre", "1 acre"),
    ("20|acre|ha", "20 acres"),
    ("5|km2|abbr=on", "5 km2"),
    ("5|km2|sp=us", "5 square kilometers"),
    ("25|/sqmi|/km2", "25 per square mile"),
    ("3.5|e6acre", "3.5 million acres"),
    ("10|ft|m|adj=mid|-long", "10 ft-long"),
    ("10|mi|km|adj=pre|round-trip", "10 round-trip mi"),
    ("10|mi|km|0", "10 mi"),
    ("8|lb|3|oz|kg", "8 lb 3 oz"),
]


@pytest.mark.parametrize(("arguments", "text"), QUANTITIES)
def test_the_quantity_that_is_converted(arguments, text):
    """The text is the quantity without its conversion."""
    assert convert(read_arguments(arguments.split("|"))) == text


@pytest.mark.parametrize(
    "arguments",
    ["", "5", "|km", "x|km", "5|km|mi|disp=number", "5|km|mi|disp=out", "5|to|km", "5|6|km", "1,23|km", "5|2|", "5|-|"],
)
def test_what_is_not_understood_is_nothing(arguments):
    """Arguments that are not understood give nothing, since a missing number is better than a wrong one."""
    assert convert(read_arguments(arguments.split("|"))) == ""
