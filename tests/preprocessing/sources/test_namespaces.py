"""Laws of preprocessing/sources/namespaces.py."""

import pytest

from preprocessing.languages import CODES
from preprocessing.sources import namespaces
from preprocessing.sources.namespaces import is_interlanguage, namespace_aliases, namespace_key, namespace_keys


def test_names_of_namespaces_are_told_as_mediawiki_tells_them():
    """Names of namespaces are recognised as by MediaWiki, whatever their case and underscores; a wiki without aliases
    has none.
    """
    assert namespace_key(" _Tập__tin ") == namespace_key("tập TIN")
    assert namespace_aliases("de") == {"Bild"} and namespace_aliases("") == namespace_aliases("xx") == set()


@pytest.mark.parametrize("prefix", ["de", "DE ", "be-x-old", "zh-yue", "roa-tara", "simple", "map-bms"])
def test_prefixes_of_languages_are_known(prefix):
    """Prefixes of languages, old codes included, are known, and those of other wikis are not languages."""
    assert is_interlanguage(prefix)
    assert not any(map(is_interlanguage, ("", "wikt", "s", "commons", "File", "doi")))


def test_the_table_names_wikis_once_and_in_their_codes():
    """Each wiki of the table stands there once and by a known code, since another code would lose its aliases."""
    codes = [code for line in namespaces._ALIASES.strip().split("\n") for code in line.partition(": ")[0].split()]
    assert len(set(codes)) == len(codes)
    assert set(codes) - CODES == {"commons"}
    assert all(namespace_keys(tuple(namespace_aliases(code))) for code in codes)
