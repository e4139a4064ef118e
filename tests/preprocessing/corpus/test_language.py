"""Laws of preprocessing/corpus/language.py, and of languages in extraction."""

import bz2
import json

import pytest

from preprocessing.corpus.corpus import Corpus
from preprocessing.corpus.language import other_language, unexpected_languages
from preprocessing.errors import DataError
from preprocessing.filters import FilterConfig
from preprocessing.stages.extract import ExtractConfig, extract
from preprocessing.workers import SerialExecutor

GERMAN = (
    "Die Kirche steht am Markt. Sie wurde im Jahr 1200 erbaut und am 3. Mai 1945 zerstört, z. B. durch Brände. "
    "Seit dem Wiederaufbau dient sie wieder als Gotteshaus, und der Turm ist ca. 60 Meter hoch. "
)
ENGLISH = "The church stands by the market. It was built in the 13th century by Mr. Smith, who lived in the town. "
HEAD = """<mediawiki xml:lang="{0}"><siteinfo><dbname>{0}wiki</dbname><namespaces>
<namespace key="6">Datei</namespace></namespaces></siteinfo>
"""


def write_dump(path, language, text, pages=12):
    """Write a dump of pages with this text, each with a number of its own."""
    body = "".join(
        f"<page><title>T{number}</title><ns>0</ns><revision><model>wikitext</model><text>{text * 3}Nummer {number}."
        "</text></revision></page>\n"
        for number in range(pages)
    )
    empty = "<page><title>E</title><ns>0</ns><revision><text>{{a}}</text></revision></page>\n"
    path.write_bytes(bz2.compress((HEAD.format(language) + body + empty + "</mediawiki>").encode()))
    return f"wikipedia:{path}"


def run(out, *sources, filters=None, **options):
    """Extract the sources; return the corpus and the report."""
    corpus = extract(out, ExtractConfig([*sources], **options), filters or FilterConfig(), SerialExecutor())
    return corpus, json.loads((out / "report.json").read_text())


def sentences(corpus):
    """Return the numbers of sentences of the documents, by source."""
    found = {}
    for partition in range(len(corpus.partitioning)):
        for source, document in zip(corpus.sources_of(partition), corpus.read(partition).to_pylist(), strict=True):
            found.setdefault(int(source), set()).add(len(document))
    return found


def test_each_dump_is_split_by_the_rules_of_its_language(tmp_path, caplog):
    """German, English and text of no stated language are each divided by their rules, and manifest and report state the
    languages.
    """
    caplog.set_level("INFO")
    (tmp_path / "a.txt").write_text("\n\n".join(f"{ENGLISH * 10} {number}" for number in range(3)))
    german, english = (
        write_dump(tmp_path / f"{code}.xml.bz2", code, text) for code, text in (("de", GERMAN), ("en", ENGLISH))
    )
    corpus, report = run(tmp_path / "out", german, english, f"text:{tmp_path / 'a.txt'}")
    assert [file.language for file in corpus.files] == ["de", "en", "en"]
    assert sentences(corpus) == {0: {10}, 1: {7}, 2: {21}}
    assert report["languages"] == {"de": 12, "en": 15} and report["warnings"] == []
    assert report["left_out"] == {"page without prose": 2}
    assert f"{german}: language de, as stated by the dump" in caplog.text
    assert "documents by language: de 12, en 15" in caplog.text and "left out, page without prose: 2" in caplog.text
    assert Corpus.open(tmp_path / "out") == corpus
    assert run(tmp_path / "out", german, english, f"text:{tmp_path / 'a.txt'}")[0] == corpus


def test_a_language_that_is_given_holds_and_a_dump_that_contradicts_it_is_told(tmp_path, caplog):
    """--language takes precedence over the dump, with a warning before the work and in the report; a rerun with the
    dump's own language is another corpus.
    """
    source = write_dump(tmp_path / "de.xml.bz2", "de", GERMAN)
    corpus, report = run(tmp_path / "out", source, language="en")
    assert sentences(corpus)[0] != {10}
    (warning,) = report["warnings"]
    assert warning in caplog.text and warning.startswith(f"{source}: warning: --language is en, but the dump is in de")
    with pytest.raises(DataError, match=r'language was "en", is "de"'):
        run(tmp_path / "out", source)


def test_a_dump_that_says_no_language_is_told(tmp_path, caplog):
    """A dump that states no language is read as English, as other text is, with a note."""
    caplog.set_level("INFO")
    source = write_dump(tmp_path / "a.xml.bz2", "x-none", ENGLISH)
    corpus, _ = run(tmp_path / "out", source)
    assert [file.language for file in corpus.files] == ["en"]
    assert f"{source}: a dump states no language and is read as en; set --language" in caplog.text


def test_given_and_taken_language_are_one_corpus(tmp_path):
    """Stating the language that the dump states continues the same directory."""
    source = write_dump(tmp_path / "de.xml.bz2", "de", GERMAN)
    assert run(tmp_path / "out", source)[0] == run(tmp_path / "out", source, language="de")[0]


@pytest.mark.parametrize(("text", "given", "warned"), [(GERMAN, "", "de"), (GERMAN, "de", ""), (ENGLISH, "", "")])
def test_text_that_looks_like_another_language_is_told(tmp_path, text, given, warned):
    """Text of no stated language, which is read as English, gives a warning if it looks like another language."""
    (tmp_path / "a.txt").write_text("\n\n".join(f"{text * 3} {number}" for number in range(20)))
    _, report = run(tmp_path / "out", f"text:{tmp_path / 'a.txt'}", language=given)
    if warned:
        (warning,) = report["warnings"]
        assert "was read as en, but 100% of a sample is classified as de; if that is correct, extract again" in warning
    else:
        assert report["warnings"] == []


def test_a_sample_that_tells_nothing_gives_no_warning():
    """No warning is given for too little text, a sample that is half right, an unknown language, or a related one."""
    assert other_language([GERMAN], "en") is None
    assert other_language([GERMAN * 10] * 2 + [ENGLISH * 10] * 2, "en") is None
    assert other_language([GERMAN * 10] * 3 + [ENGLISH * 10], "en") == ("de", 0.75)
    assert other_language([GERMAN * 10] * 4, "als") is None
    assert unexpected_languages({"sk": 5, "pl": 2, "en": 2}, ["cs", "als"]) == [("en", 2), ("pl", 2)]
    assert (
        other_language(["Kirken står på torget i byen. Den ble bygget i det trettende århundre. " * 40], "nb") is None
    )


def test_a_filter_by_a_language_that_cannot_be_told_is_an_error(tmp_path):
    """A filter by a language that cannot be classified is an error before the work, since it would drop
    every document.
    """
    source = write_dump(tmp_path / "a.xml.bz2", "als", GERMAN)
    with pytest.raises(DataError, match="--check_language: py3langid does not know the language als; leave"):
        run(tmp_path / "out", source, filters=FilterConfig(check_language=True))
    german = write_dump(tmp_path / "b.xml.bz2", "de", GERMAN)
    assert sentences(run(tmp_path / "b", german, filters=FilterConfig(check_language=True))[0]) == {0: {10}}


def test_a_name_of_a_language_is_no_code():
    """The name of a language in place of its code is an error of the options, before any work."""
    with pytest.raises(ValueError, match=r"language = 'english': .*; did you mean en"):
        ExtractConfig(["embedded"], language="english")
