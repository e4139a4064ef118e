"""Laws of preprocessing/sources/siteinfo.py."""

import pytest

from preprocessing.errors import DataError
from preprocessing.sources.siteinfo import read_siteinfo
from preprocessing.sources.wikitext import to_prose

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11"{tag}>
  <siteinfo>
    <sitename>Wikipedia</sitename>
    {database}
    <namespaces>
      <namespace key="6" case="first-letter">{file}</namespace>
      <namespace key="7" case="first-letter">Talk</namespace>
      <namespace key="14" case="first-letter">Kategorie &amp; x</namespace>
    </namespaces>
  </siteinfo>
</mediawiki>
"""


def siteinfo(tmp_path, tag=None, database=None, file="Datei"):
    """Return the siteinfo of a head with these values."""
    path = tmp_path / "a.xml"
    tag = "" if tag is None else f' xml:lang="{tag}"'
    path.write_text(HEAD.format(tag=tag, database=f"<dbname>{database}</dbname>" if database else "", file=file))
    return read_siteinfo(path)


LANGUAGES = [
    ("de", "dewiki", "de"),
    ("en", "simplewiki", "en"),
    (None, "simplewiki", "en"),
    ("gsw", "alswiki", "gsw"),
    (None, "alswiki", "als"),
    (None, "zh_min_nanwiki", "zh-min-nan"),
    ("nds-NL", "nds_nlwiki", "nds-nl"),
    ("cbk-x-zam", "cbk_zamwiki", "cbk-zam"),
    ("be-tarask", "be_x_oldwiki", "be-tarask"),
    ("pt-BR", "mywiki", "my"),
    ("pt-BR", "private", "pt"),
    (None, "frwiktionary", "fr"),
    (None, None, ""),
    ("x-klingon", "stars", ""),
]


@pytest.mark.parametrize(("tag", "database", "language"), LANGUAGES)
def test_the_language_is_that_of_the_dump(tmp_path, tag, database, language):
    """The language is `xml:lang` if that code is known, else that of the database's name, else the first part of the
    tag.
    """
    assert siteinfo(tmp_path, tag, database).language == language


def test_namespaces_are_those_of_the_dump_and_the_aliases_of_its_wiki(tmp_path):
    """Namespaces are those of the dump and the aliases of its database: Alsatian pages have `[[Bild:...]]`, whatever
    their language code.
    """
    assert siteinfo(tmp_path, "de", "dewiki").dropped_namespaces == (
        "Bild",
        "Category",
        "Datei",
        "File",
        "Image",
        "Kategorie & x",
    )
    assert {"Bild", "Arkiv"} <= set(siteinfo(tmp_path, "gsw", "alswiki", "Arkiv").dropped_namespaces)
    assert "Bild" not in siteinfo(tmp_path, "en", "enwiki").dropped_namespaces


LINKS = [
    ("de", "[[Bild:Haus.jpg|mini|Ein [[Haus]]]] A."),
    ("pt", "[[Imagem:{{x}}|thumb|O rio [[Spree]] em [[Mitte]]]] A."),
    ("ru", "[[ изображение : a|b [[c]]]] A.[[К:b]]"),
    ("fr", "[[Image:a|b ''c'' [[d|e]]]] A."),
    ("vi", "[[Hình:a|b [[d|e]]]] A."),
    ("zh", "[[檔案:a|b [[d|e]]]] A.[[分類:c]]"),
    ("fa", "[[تصویر:a|b [[d|e]]]] A."),
    ("ar", "[[صورة:a|b [[d|e]]]] A."),
    ("he", "[[תמונה:a|b [[d|e]]]] A."),
    ("be-tarask", "[[Выява:a|b [[d|e]]]] A."),
    ("sr", "[[Слика:a|b [[d|e]]]] A.[[Kategorija:d]]"),
    ("nl", "[[Afbeelding:a|b [[d|e]]]] A."),
    ("sv", "[[bild:a|b [[d|e]]]] A."),
]


@pytest.mark.parametrize(("wiki", "wikitext"), LINKS)
def test_links_to_files_and_categories_go_under_every_name(tmp_path, wiki, wikitext):
    """Links to files and categories are removed under every name, with the whole caption and the links in it."""
    assert to_prose(wikitext, siteinfo(tmp_path, wiki).dropped_namespaces) == "A."


def test_a_link_to_a_file_itself_is_shown(tmp_path):
    """A link that names a file is kept, under the name that the dump gives the namespace and the English one; without a
    label it gives nothing.
    """
    path = tmp_path / "a.xml"
    media = '<namespace key="-2" case="first-letter">Medium</namespace>'
    path.write_text(HEAD.format(tag=' xml:lang="de"', database=media, file="Datei"))
    site = read_siteinfo(path)
    assert site.media_namespaces == ("Media", "Medium")
    for link in ("[[Media:X y.ogg|listen]]", "[[ medium : x.OGG |''listen'']]", "[[Media:{{a}}|listen]]"):
        text = f"A ({link}) b."
        assert to_prose(text, site.dropped_namespaces, "de", media_namespaces=site.media_namespaces) == "A (listen) b."
    assert to_prose("A [[Medium:x.ogg]] b.", (), media_namespaces=site.media_namespaces) == "A b."


def test_no_dump(tmp_path):
    """The error for a file that is no dump states what to give."""
    (tmp_path / "a.xml").write_text("<mediawiki></mediawiki>")
    with pytest.raises(DataError, match=r"a\.xml: not a MediaWiki dump"):
        read_siteinfo(tmp_path / "a.xml")
