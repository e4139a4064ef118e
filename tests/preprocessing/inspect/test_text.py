"""Laws of preprocessing/inspect/text.py."""

import re
from dataclasses import replace
from pathlib import Path

from preprocessing.corpus.report import Tally
from preprocessing.inputs import FileCounts, FoundFile
from preprocessing.inspect.overview import DocumentsFigures, Overview, SourceFigures, TokenizerFigures
from preprocessing.inspect.text import printable, render
from preprocessing.inspect.texts import figures_of as texts_of
from preprocessing.tokenizer.normalization import Settings, Unreachable


def overview(figures, documents=None):
    return Overview(Path("out"), documents, None, [figures], [])


def test_everything_is_there(figures_of, make_random):
    """The text has figures, histograms whose bars add up, frequent tokens, decoded samples and options."""
    samples = make_random(900)
    text = render(overview(figures_of(samples, make_random(60, 1), build={"seed": 7, "weights": [0.5, 2.0]})))
    assert text.startswith("out\nno warnings\n")
    assert "samples: nsp, at most 32 tokens, vocabulary of 120" in text
    assert re.search(r"^  samples +900 +60$", text, re.MULTILINE)
    shares = [float(share) for share in re.findall(r"to +\d+ +([\d.]+)%", text)]
    assert len(shares) == 16 and abs(sum(shares) - 200) < 1
    assert len(re.findall(r"^    sample \d+, document \d+, B (?:is random|follows A)$", text, re.MULTILINE)) == 4
    assert len(re.findall(r"^      A: (?:w|p|##)", text, re.MULTILINE)) == 4
    assert re.search(r"options of build of samples\n-+\n  seed +7\n  weights +0\.5\n +2\.0$", text)


def test_lines_of_samples_are_bounded(figures_of):
    """Long segments are wrapped below their beginning, so that no line is too long."""
    text = render(overview(figures_of([([5 + 4 * n + 1 for n in range(28)], 27, 0, 0)] * 2, [])))
    shown = text[text.index("some samples") :].splitlines()
    assert max(map(len, shown)) <= 110
    assert shown[2].startswith("      A: ") and shown[3].startswith("         w")


def test_suspicions_come_first(figures_of, make_random):
    """Suspicions come before the figures."""
    lines = render(overview(figures_of(make_random(900), []))).splitlines()
    assert lines[1] == "warnings:" and lines[2].startswith("  ! samples, heldout: no samples")


def test_documents_show_reasons_and_places(figures_of, make_random):
    """Documents have their bad records with kind, file and place, the reasons of what was left out, and sources with
    their share.
    """
    tally = Tally(
        documents=20, bad={"not UTF-8": 2}, left_out={"duplicate": 3}, first={"not UTF-8": [["a.jsonl:7", "byte 3"]]}
    )
    sources = [SourceFigures("text:a", 15, 10), SourceFigures("text:b", 5, 10)]
    documents = DocumentsFigures(Path("out/documents"), tally, 1, 16, 1, sources, {})
    text = render(overview(figures_of(make_random(20), []), documents))
    assert "  bad, not UTF-8: 2, first at\n    a.jsonl:7: byte 3\n" in text
    assert "  left out, duplicate: 3\n" in text
    assert "  from text:a: 15 documents, 75.0%\n  from text:b: 5 documents, 25.0%\n" in text


def test_files_that_were_not_read_are_shown(figures_of, make_random):
    """Files that were not read are shown by place and reason with number, size and first names; a report of an older
    version has no sizes.
    """
    counts, old = FileCounts(), {"read": 1, "left_out": {"PDF": 1}, "first": {"PDF": ["c.pdf"]}}
    counts.add(FoundFile("a.txt", 10**7))
    for number in range(7):
        counts.add(FoundFile(f"x/{number}.csv", 1234567, ".csv, which file does not read", lost=True))
    counts.add(FoundFile("SHA256SUMS", 999, "checksum or signature"))
    tally = Tally(documents=2, files={"file:in": counts.to_dict(), "b.zip": old, "c": FileCounts(read=1).to_dict()})
    documents = DocumentsFigures(Path("out/documents"), tally, 1, 2, 0, [SourceFigures("file:in", 2, 9)], {})
    text = render(overview(figures_of(make_random(20), []), documents))
    assert (
        "  input files that were not read, file:in\n"
        "    .csv, which file does not read: 7 files, 8.6 MB (x/0.csv, x/1.csv, x/2.csv, x/3.csv, x/4.csv, ...)\n"
        "    checksum or signature: 1 file, 999 bytes (SHA256SUMS)\n"
        "  input files that were not read, b.zip\n"
        "    PDF: 1 file (c.pdf)\n"
    ) in text
    said = " ".join(text.split())
    assert "! documents, file:in: 46% of the bytes are in files that were not read: .csv, which file does not" in said


def test_nothing_reaches_the_terminal_that_it_would_act_upon(figures_of, make_random):
    """Control characters, and bytes that are no UTF-8, are replaced wherever they come from."""
    assert printable("\x1b[31mred\u202e caf\udce9 東京") == "\ufffd[31mred\ufffd caf\ufffd 東京"
    figures = figures_of(make_random(20), [])
    text = render(replace(overview(figures), directory=Path("out\x1b]0;title\x07")))
    assert text.startswith("out\ufffd]0;title\ufffd\n") and all(line.isprintable() for line in text.split("\n"))


def test_text_and_tokenizer_have_their_figures(figures_of, make_random):
    """Each source has a row with normal values below; unreachable tokens and warnings of the tokenizer are shown."""
    sources = [
        SourceFigures(f"file:{'x' * 50}", 2, 10, texts_of([["<p>A line.</p>", "A line of text."]] * 2, "en", None)),
        SourceFigures("text:b", 0, 0, texts_of([], "en", None)),
    ]
    documents = DocumentsFigures(Path("out/documents"), Tally(documents=2), 1, 2, 0, sources, {})
    tokenizer = TokenizerFigures(
        Path("out/tokenizer"), 120, {}, Settings(True, False), Unreachable(100, ["Am"], ["##!"]), ["a note"]
    )
    text = render(replace(overview(figures_of(make_random(900), []), documents), tokenizer=tokenizer))
    assert re.search(r"^  \.\.\.x{29} +2 documents +13\.8% +50\.0% +0\.0% +0\.0% +0\.0%$", text, re.MULTILINE)
    assert re.search(r"^  normal +< 3% +< 2% +< 0\.2% +< 35% +< 50% +> 80% +< 1%$", text, re.MULTILINE)
    assert re.search(
        r"^  unreachable tokens +1  tokens that the normalizer changes, such as 'Am'; normal: below 1%$",
        text,
        re.MULTILINE,
    )
    assert re.search(r"^  lower-cases text +yes$", text, re.MULTILINE) and "\n  - a note\n" in text
