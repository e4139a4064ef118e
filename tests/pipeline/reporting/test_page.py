"""The page is self-contained, has all sections, and escapes the texts of runs."""

import re
from html.parser import HTMLParser

import pytest

from pipeline.reporting import attempts as report_attempts
from pipeline.reporting import figures as report_figures
from pipeline.reporting import ratios as report_ratios
from pipeline.reporting.page import make, page
from pipeline.reporting.summary import summary
from pipeline.runlog.reader import read_runs
from tests.made_runs import BEGIN, event, make_run, ratios, saved, start

EVENTS = [
    start(0, 0),
    saved(10),
    event("skipped_step", 13, consecutive=2, file="skipped/13.json"),
    event("failed", 17, error="<script>alert(1)</script> the loss became nan"),
    event("broken_checkpoint", 10, 300, path="step-10", reason="checksum"),
    start(0, 310, host="node2"),
    saved(40),
    event("finished", 40, 1000),
]
SECTIONS = ["loss", "accuracy", "steps", "ratios", "speed", "checkpoints", "attempts", "recipe"]


@pytest.fixture
def unpainted(monkeypatch):
    """Skip the drawing of pictures, which takes seconds; other tests draw them."""
    for module in (report_figures, report_ratios, report_attempts):
        monkeypatch.setattr(module, "paint", lambda *_: b"PNG")


class Outline(HTMLParser):
    """The tags of a page with their attributes, and those that are not closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def page_of(*directories):
    return page(make(read_runs(directories), BEGIN + 2000))


def test_page_needs_nothing_else(tmp_path):
    """The page is well-formed and needs no network, scripts or files: it contains its pictures, and links lead to its
    own sections.
    """
    html = page_of(make_run(tmp_path / "run", lines=[ratios(5), ratios(15)], events=EVENTS))
    outline = Outline(html)
    assert outline.open == []
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert [name for name in ids if name != "glance"] == SECTIONS
    for tag, attributes in outline.tags:
        assert tag not in {"script", "link", "iframe", "object"}
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
        assert attributes.get("href", "#loss")[1:] in ids
        assert "alt" in attributes or tag != "img"
    assert not re.search(r"https?://|@import|url\(", html)


def test_attempts_and_faults(tmp_path, unpainted):
    """The page has a row for each attempt with the steps that it lost, and every fault with its file."""
    texts = " ".join(Outline(page_of(make_run(tmp_path / "run", events=EVENTS))).texts)
    text = re.sub(r"\s+", " ", texts)
    assert "1 2023-11-14 22:13:20 0:02:50 node1 77 8 2 0 17 17 failed: <script>alert(1)</script> the loss" in text
    assert "2 2023-11-14 22:18:20 0:11:40 node2 77 8 2 0 40 0 finished" in text
    assert "step 13 skipped, 2 in a row; its samples: skipped/13.json" in text
    assert "broken checkpoint step-10: checksum" in text and "Faults: 3" in text
    assert "steps lost 17" in text and "checkpoint time, median 12.5 s" in text


def test_hostile_names_are_text(tmp_path):
    """Markup and mathematics in a directory's name or an error, and bytes that are no UTF-8, are shown as text."""
    name = '<img src="x" onerror="alert(1)"> $x^{$ _{'
    html = page_of(make_run(tmp_path / name, events=EVENTS), make_run(tmp_path / "_\udce4\n$", events=EVENTS))
    assert "onerror=" not in re.sub(r"&lt;img.*?&gt;", "", html)
    assert "<script" not in html and "&lt;script&gt;alert(1)" in html
    assert name in " ".join(Outline(html).texts)


def test_two_runs_are_compared(tmp_path, unpainted):
    """Two runs have a column each; differing fields are apart from equal ones; trust ratios and attempts are shown for
    each run.
    """
    one = make_run(tmp_path / "one", lines=[ratios(5)], events=EVENTS)
    other = make_run(tmp_path / "other", 20, lr=8e-3)
    html = page_of(one, other)
    text = re.sub(r"\s+", " ", " ".join(Outline(html).texts))
    assert "one other steps 40 of 40 20 of 20" in text
    assert "optimizer.lr 0.004 0.008" in text and "schedule.total_steps 40 20" in text
    assert text.index("What is equal") < text.index("optimizer.name lamb")
    assert "other has no trust ratios in its metrics" in text and "other has no events.jsonl" in text
    assert html.count('alt="Trust ratio') == 2 and html.count('alt="Attempts') == 1


@pytest.mark.parametrize("name", ["adamw", "muon", "lamb"])
def test_why_there_are_no_ratios(tmp_path, unpainted, name):
    """The page states why there are no trust ratios: AdamW and Muon have none, and older versions did not write them.
    It also states that checkpoints or the recipe are missing.
    """
    run = make_run(tmp_path / "run")
    (run / "recipe.toml").write_text(f'[optimizer]\nname = "{name}"\n')
    html = page_of(run)
    assert (f"trained with {name}, which has no trust ratios" in html) == (name != "lamb")
    assert ("its version did not write them" in html) == (name == "lamb")
    assert "run has no events.jsonl, in which newer versions record checkpoints." in html
    (run / "recipe.toml").unlink()
    assert "No recipe.toml in the run directory" in page_of(run)


def test_verdicts(tmp_path, unpainted):
    """The page has the verdict of each run with floors, with the run's name if there are several, and the summary has
    the same text.
    """
    floors = event("floors", 0, unigram=8.5, unigram_accuracy=0.2, context=7.5)
    run, other = (make_run(tmp_path / name, events=[start(0), *told]) for name, told in (("a", [floors]), ("b", [])))
    sentence = (
        "The model has used word order since step 20: its held-out masked-token loss, 5.00, is more than 0.3 below"
    )
    assert f'<p class="verdict">{sentence}' in page_of(run)
    assert f"<b>a:</b> {sentence}" in page_of(run, other) and page_of(run, other).count('class="verdict"') == 1
    assert f"\n  {sentence}" in summary(read_runs([run])[0])


def test_notes(tmp_path, unpainted):
    """Notes on damaged lines, clocks that were set back and silent runs are at the top."""
    run = make_run(tmp_path / "run", events=[start(0, 5000), saved(10, 100)])
    with (run / "events.jsonl").open("a") as file:
        file.write("{\n")
    html = page_of(run)
    assert "run: 1 lines could not be read" in html
    assert "clocks went back by 1:21:40" in html
    assert "run: no heartbeat since 2023-11-14" in html
