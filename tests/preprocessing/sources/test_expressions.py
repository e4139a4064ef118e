"""Laws of preprocessing/sources/expressions.py."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.sources.expressions import ExpressionError, evaluate, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 3 * 4", "14"),
        ("(2 + 3) * 4", "20"),
        ("2 ^ 3 ^ 2", "64"),
        ("-2 ^ 2", "4"),
        ("10 / 4", "2.5"),
        ("-7 mod 3", "-1"),
        ("7 div 2", "3.5"),
        ("1 / 3 round 2", "0.33"),
        ("-2.5 round 0", "-3"),
        ("1 + 2.55 round 1", "3.6"),
        ("not 0 and 1 < 2 or 0", "1"),
        ("1 = 2 or 3 <> 3", "0"),
        ("floor 2.7 + ceil 2.1", "5"),
        ("5 × 2 ÷ 4 − 1", "1.5"),
        ("0 * -1", "0"),
        ("sqrt 16", "4"),
        (".5 + 1.", "1.5"),
    ],
)
def test_values_are_those_of_mediawiki(text, expected):
    """Precedence and rounding are those of Help:Extension:ParserFunctions."""
    assert shown(evaluate(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "(1",
        "1)",
        "1 2",
        "a",
        "1/0",
        "1 mod 0",
        "0 ^ -1",
        "9^99",
        "(" * 30 + "1" + ")" * 30,
        "1+" * 200 + "1",
    ],
)
def test_what_has_no_value_is_an_error(text):
    """An expression that is malformed, too long, too deep or undefined is an error."""
    with pytest.raises(ExpressionError):
        evaluate(text)


@given(st.text(st.sampled_from("0123456789.+-*/^()<>= abdefilmnoqrstuvx"), max_size=40))
def test_any_text_is_a_number_or_an_error(text):
    """Any text is a number or an error, in bounded time."""
    with suppress(ExpressionError):
        shown(evaluate(text))
