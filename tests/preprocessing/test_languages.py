"""Laws of preprocessing/languages.py."""

import pytest
import sentencex

from preprocessing.languages import CODES, alike, check_language, same_language

MEANT = [
    ("english", "en"),
    ("English", "en"),
    ("EN", "en"),
    ("en-US", "en"),
    ("en_GB.UTF-8", "en"),
    ("eng", "en"),
    ("ger", "de"),
    ("Deutsch", "de"),
    ("français", "fr"),
    ("portugese", "pt"),
    ("jp", "ja"),
    ("zh-Hans", "zh"),
]


@pytest.mark.parametrize(("code", "meant"), MEANT)
def test_an_unknown_code_is_an_error_that_says_what_may_be_meant(code, meant):
    """The error for a name, capitals, a region, a code of three letters, or a slip proposes the code that is probably
    meant.
    """
    with pytest.raises(ValueError, match=f"^language = '{code}': must be the code of .*; did you mean {meant}\\?$"):
        check_language(code)


@pytest.mark.parametrize("code", ["zz", "qq-x", "xyzzy", " ", "e"])
def test_an_unknown_code_that_means_nothing_is_an_error(code):
    """The error for an unknown code that resembles none proposes none."""
    with pytest.raises(ValueError, match=r"such as en, de or zh$"):
        check_language(code)


def test_every_code_is_taken():
    """Every code is accepted by the options and by sentencex."""
    assert len(CODES) > 300 and {"en", "nb", "als", "zh-min-nan", "ceb"} <= CODES
    for code in CODES:
        check_language(code)
        assert sentencex.segment(code, "A b.") == ["A b."]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("en", "en", True),
        ("nb", "no", True),
        ("zh-yue", "zh", True),
        ("hr", "sr", True),
        ("be-tarask", "be", True),
        ("cs", "sk", False),
        ("no", "da", False),
        ("en", "de", False),
        ("", "en", False),
    ],
)
def test_codes_of_one_language(one, other, same):
    """Variants of a language count as the same language."""
    assert same_language(one, other) is same_language(other, one) is same
    assert not same or alike(one, other)


@pytest.mark.parametrize(("one", "other", "expected"), [("cs", "sk", True), ("da", "nb", True), ("da", "sv", False)])
def test_languages_that_a_guess_cannot_tell_apart(one, other, expected):
    """Languages that a classifier cannot distinguish include those that count as the same."""
    assert alike(one, other) is alike(other, one) is expected
