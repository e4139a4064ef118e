"""Laws of preprocessing/inspect/page.py."""

import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from preprocessing.corpus.report import Tally
from preprocessing.errors import DataError
from preprocessing.inspect.overview import DocumentsFigures, Overview, SourceFigures, TokenizerFigures
from preprocessing.inspect.page import page, write_page
from preprocessing.inspect.texts import figures_of as texts_of
from preprocessing.tokenizer.normalization import Settings, Unreachable

NASTY = '<script>alert("x")</script> & \' $\\frac{1}{0}$ \ud800 {{ 7 * 7 }}'
VOID = {"meta", "br", "img", "link"}


class Checker(HTMLParser):
    """A parser that collects tags and checks that each is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], set(), [], []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def checked(text):
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return checker


@pytest.fixture
def overview(figures_of, make_random):
    """An overview with everything, in which every name has markup, mathematics and a template."""
    tally = Tally(documents=20, bad={NASTY: 1}, left_out={NASTY: 2}, first={NASTY: [[NASTY, NASTY]]})
    tally.add_files(NASTY, {"read": 1, "left_out": {NASTY: 3}, "first": {NASTY: [NASTY]}, "left_out_bytes": {NASTY: 7}})
    source = SourceFigures(NASTY, 20, 10, texts_of([[NASTY.replace("\ud800", "")] * 30] * 2, "en", None))
    documents = DocumentsFigures(Path(NASTY), tally, 1, 18, 0, [source], {NASTY: NASTY})
    figures = figures_of(make_random(300) * 2, make_random(30, 1))
    train, heldout = figures.splits
    shard = replace(train.listed.shards[0], tokens_by_source={NASTY: 100})
    train = replace(train, listed=replace(train.listed, shards=(shard,)), frequent=[(NASTY, 9), *train.frequent])
    figures = replace(figures, splits=[train, heldout])
    lost = Unreachable(100, [NASTY] * 10, [NASTY])
    tokenizer = TokenizerFigures(Path(NASTY), 120, {}, Settings(True, False), lost, [NASTY])
    return Overview(Path(NASTY), documents, tokenizer, [figures], [Path(NASTY)])


def test_the_page_is_well_formed_and_needs_nothing_else(overview):
    """Each tag is closed, ids are unique, and the page has no scripts and fetches nothing."""
    second = replace(overview.samples[0], directory=Path("samples64"))
    text = page(replace(overview, samples=[*overview.samples, second]))
    checker = checked(text)
    assert not checker.tags & {"script", "link", "img", "iframe", "object"}
    assert not any(name.startswith("on") for name, _ in checker.attributes)
    targets = [value for name, value in checker.attributes if name in ("href", "xlink:href", "src")]
    targets += re.findall(r"url\(([^)]*)\)", text)
    ids = [value for name, value in checker.attributes if name == "id"]
    assert targets and {target[0] for target in targets} == {"#"}
    assert len(set(ids)) == len(ids)
    assert {target[1:] for target in targets} <= set(ids)


def test_whatever_comes_from_the_data_is_escaped(overview):
    """Names of files, kinds, tokens and options are text and not markup, and lone surrogates are no error."""
    text = page(overview)
    assert "<script" not in text and text.count("&lt;script&gt;") >= 8
    assert sum(NASTY.replace("\ud800", "?") in part for part in checked(text).text) >= 8


def test_samples_are_shown_piece_by_piece(overview):
    """A and B of every sample are shown, each token with its name and number."""
    text = page(overview)
    samples = [example for split in overview.samples[0].splits for example in split.examples]
    assert text.count('<article class="card sample">') == len(samples) == 4
    for example in samples:
        for piece in example.a.pieces:
            assert f'title="{piece.token} · {piece.id}">{piece.text}</span>' in text
    assert text.count('class="segment b"') == sum(example.b is not None for example in samples)


def test_files_that_were_not_read_have_a_table(overview):
    """Files that were not read have a table with number, size and first names, which is omitted if all were read."""
    text = page(overview)
    rows = " ".join(checked(text).text).partition("Input files that were not read")[2]
    assert re.search(r"files\s+size\s+the first of them.*?\b3\s+7 bytes", rows, re.DOTALL)
    documents = replace(overview.documents, tally=replace(overview.documents.tally, files={}))
    assert "Input files that were not read" not in page(replace(overview, documents=documents))


def test_suspicions_stand_on_top(overview, figures_of):
    """Suspicions come before the first heading, and if there are none, the page says so."""
    text = page(overview)
    assert text.index("<b>Warnings</b>") < text.index("<h2")
    fine = page(replace(overview, documents=None, tokenizer=None, samples=[], unfinished=[]))
    assert "No warnings" in fine and "<b>Warnings</b>" not in fine


def test_a_page_is_a_function_of_the_figures(overview):
    """Equal figures give a page of equal bytes."""
    assert page(overview) == page(overview)


def test_an_empty_dataset_has_a_page(figures_of):
    """The page of an empty dataset divides nothing by zero and draws nothing."""
    text = page(Overview(Path("out"), None, None, [figures_of([], [])], []))
    assert "<svg" not in text and "there is nothing to train on" in text
    checked(text)


def test_the_page_appears_whole_or_not_at_all(overview, tmp_path, monkeypatch):
    """If a page cannot be written, an earlier file is kept and no temporary one is left."""
    target = tmp_path / "page.html"
    write_page(target, overview)
    before = target.read_bytes()

    def fail(source, target):
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(DataError, match=r"--html: .*page\.html: cannot be written \(Permission denied\)"):
        write_page(target, replace(overview, samples=[]))
    assert target.read_bytes() == before and list(tmp_path.glob("*.html")) == [target]
    assert not list(tmp_path.glob(".*"))
