"""Laws of preprocessing/sources/parser_functions.py and expressions.py, as the tables of a language call them."""

import pytest

from preprocessing.sources.expressions import ExpressionError, evaluate, shown
from preprocessing.sources.templates import templates_of

FUNCTIONS = [
    ("en", "formatnum:3769495", "3,769,495"),
    ("en", "FORMATNUM: 1234.5 ", "1,234.5"),
    ("en", "formatnum:-1234", "−1,234"),
    ("en", "formatnum:1,234,567.8|R", "1234567.8"),
    ("en", "formatnum:1234567|NOSEP", "1234567"),
    ("en", "formatnum:many", "many"),
    ("en", "formatnum:", ""),
    ("fr", "formatnum:3769495", "3 769 495"),
    ("de", "formatnum:1234.5", "1.234,5"),
    ("de", "zahlenformat:1234.5", "1.234,5"),
    ("de", "formatnum:1.234,5|R", "1234.5"),
    ("es", "formatnum:1234", "1234"),
    ("es", "formatnum:12345", "12 345"),
    ("hi", "formatnum:1234567", "12,34,567"),
    ("fa", "formatnum:1234.5", "۱٬۲۳۴٫۵"),
    ("ru", "форматировать_число:1234", "1 234"),
    ("zh", "格式化数字:1234", "1,234"),
    ("en", "lc:ABC", "abc"),
    ("en", "uc:abc", "ABC"),
    ("en", "lcfirst:ABC", "aBC"),
    ("en", "ucfirst:abc", "Abc"),
    ("ja", "大文字:abc", "ABC"),
    ("en", "plural:1|mile|miles", "mile"),
    ("en", "plural:5|mile|miles", "miles"),
    ("fr", "plural:0|mille|milles", "mille"),
    ("ru", "plural:3|миля|мили|миль", "мили"),
    ("ru", "plural:11|миля|мили|миль", "миль"),
    ("en", "grammar:genitive|Rome", "Rome"),
    ("en", "padleft:7|3", "007"),
    ("en", "padright:7|3|x", "7xx"),
    ("en", "#if:x|yes|no", "yes"),
    ("en", "#if: |yes|no", "no"),
    ("en", "#ifeq:1.0|1|same|other", "same"),
    ("en", "#ifeq:a|b|same|other", "other"),
    ("en", "#switch:b|a=1|b|c=2|#default=3", "2"),
    ("en", "#switch:z|a=1|3", "3"),
    ("en", "#switch:z|a=1|#default=3|b=4", "3"),
    ("en", "#expr:6/7 round 2", "0.86"),
    ("en", "#ifexpr:2>1|yes|no", "yes"),
    ("en", "#expr:1/0", ""),
    ("en", "#invoke:Module|main|x", ""),
    ("en", "#tag:ref|a note", ""),
    ("en", "DEFAULTSORT:Berlin", ""),
    ("en", "!", "|"),
    ("en", "=", "="),
    ("en", "PAGENAME", "Berlin"),
    ("de", "SEITENNAME", "Berlin"),
    ("en", "CURRENTYEAR", ""),
]


@pytest.mark.parametrize(("language", "content", "text"), FUNCTIONS)
def test_functions_give_what_mediawiki_gives(language, content, text):
    """Functions give MediaWiki's results under the names of the language, and nothing where only the wiki knows the
    result.
    """
    assert templates_of(language).text(content, title="Berlin") == text


EXPRESSIONS = [
    ("1 + 2 * 3", "7"),
    ("(1 + 2) * 3", "9"),
    ("-2 ^ 2", "4"),
    ("10 / 4", "2.5"),
    ("7 mod 3", "1"),
    ("2.5 round 0", "3"),
    ("1234 round -2", "1200"),
    ("trunc -3.7", "-3"),
    ("floor -3.2", "-4"),
    ("1 = 1 and not 0", "1"),
    ("3 >= 4 or 2 <> 2", "0"),
    ("2 × 3 − 1", "5"),
    ("0.1 + 0.2", "0.3"),
]


@pytest.mark.parametrize(("text", "value"), EXPRESSIONS)
def test_arithmetic(text, value):
    """Expressions have MediaWiki's operator precedence."""
    assert shown(evaluate(text)) == value


@pytest.mark.parametrize(
    "text", ["", "1 +", "(1", "1)", "1 / 0", "x", "__import__", "9^99", "(" * 150, "- " * 99, "1" * 300, "2^60 ^ 9"]
)
def test_what_cannot_be_worked_out_is_an_error(text):
    """An expression without a value is an error of its own kind, and no code is run."""
    with pytest.raises(ExpressionError):
        shown(evaluate(text))
