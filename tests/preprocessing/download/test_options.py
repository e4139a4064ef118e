"""Laws of preprocessing/download/options.py."""

import pytest

from preprocessing.download.options import ClientConfig, UrlConfig, WikipediaConfig


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WikipediaConfig("English"), r"language = 'English': must be the subdomain of a Wikipedia, such as en"),
        (lambda: WikipediaConfig("english"), r"language = 'english': .*; did you mean en\?"),
        (lambda: WikipediaConfig("en", date="2025"), r"date = '2025': must be YYYYMMDD or latest"),
        (lambda: UrlConfig(["a", "b"], ["0" * 64]), r"sha256 has 1 values for 2 urls"),
        (lambda: UrlConfig(["a"], ["0" * 63]), r"sha256 = '0+': must be 64 hexadecimal digits"),
        (lambda: ClientConfig(contact="a (b)"), r"contact = 'a \(b\)': must be an e-mail address or web page"),
        (lambda: ClientConfig(connections=3), r"connections = 3: must be 1 or 2"),
        (lambda: ClientConfig(retries=-1), r"retries = -1: must be 0 or more"),
        (lambda: ClientConfig(timeout_seconds=0), r"timeout_seconds = 0: must be above 0"),
        (lambda: ClientConfig(backoff_seconds=-1), r"backoff_seconds = -1: must be above 0"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    """An option out of range is an error with its name, its value and the rule."""
    with pytest.raises(ValueError, match=message):
        make()


def test_a_wiki_is_named_by_its_subdomain():
    """Hyphens of a language become underscores in the database, whose dumps are listed below the mirror; a code that is
    not known yet is accepted.
    """
    config = WikipediaConfig("zh-min-nan", mirror="https://example.org/dumps/")
    assert (config.wiki, config.listing) == ("zh_min_nanwiki", "https://example.org/dumps/zh_min_nanwiki/")
    assert WikipediaConfig("xqx").wiki == "xqxwiki"
