"""The command of the reports: page, pictures, figures and messages."""

import pytest
from PIL import Image

from pipeline.report import report
from pipeline.reporting import attempts, figures
from pipeline.reporting import ratios as trust_ratios
from pipeline.reporting.reference import read
from tests.made_runs import event, make_run, ratios, start


def test_page_is_the_default(tmp_path, capsys, monkeypatch):
    """By default, a report.html is written beside the run, and a summary is printed."""
    monkeypatch.chdir(tmp_path)
    for module in (attempts, figures, trust_ratios):  # drawing takes seconds, and other tests draw
        monkeypatch.setattr(module, "paint", lambda *_: b"PNG")
    report([str(make_run(tmp_path / "run", 5))])
    text = capsys.readouterr().out
    assert "mlm_loss          9.0000       9.0000" in text
    assert "1,003" in text and "1.5 GiB" in text and text.endswith("report.html\n")
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_picture_of_the_curves(tmp_path):
    """An --out that ends in .png has the curves of all runs, also if a name looks like mathematics."""
    runs = [str(make_run(tmp_path / name, 5)) for name in ("$x^{$", "_b")]
    report([*runs, "--out", str(tmp_path / "new" / "curves.png")])
    assert Image.open(tmp_path / "new" / "curves.png").width > 800
    assert not (tmp_path / "report.html").exists()


def test_pictures_beside_the_page(tmp_path, capsys):
    """With --png, every picture of the page is a file of its own, too."""
    run = make_run(tmp_path / "run", 12, lines=[ratios(5), ratios(10)], events=[start(0), event("finished", 12)])
    report([str(run), "--out", str(tmp_path / "page.html"), "--png", str(tmp_path / "png")])
    names = {path.stem for path in (tmp_path / "png").iterdir()}
    assert names >= {"loss", "mlm-accuracy", "learning-rate", "mfu", "trust-ratio-layers", "attempts"}
    assert (tmp_path / "page.html").read_text().count("data:image/png") == len(names)
    assert all(Image.open(path).format == "PNG" for path in (tmp_path / "png").iterdir())
    assert f"{len(names)} pictures" in capsys.readouterr().out


def test_follow_ends_with_a_finished_run(tmp_path, capsys):
    """Without a terminal, the events of a finished run and one line are printed."""
    report(["--follow", str(make_run(tmp_path / "run", 5, events=[start(0), event("finished", 5)]))])
    out = capsys.readouterr().out.splitlines()
    assert out[-1].startswith("finished  step 5/5") and "finished at step 5" in out[-2]


def test_a_reference_curve(tmp_path, capsys):
    """A reference curve is written alone, without a page."""
    floors = event("floors", 0, unigram=8.5, unigram_accuracy=0.2, context=7.5)
    run, out = make_run(tmp_path / "run", events=[start(0), floors, event("finished", 40)]), tmp_path / "new" / "a.json"
    (run / "recipe.toml").write_text('name = "mine"\n' + (run / "recipe.toml").read_text())
    report([str(run), "--reference", str(out)])
    assert capsys.readouterr().out == f"{out}\n" and read(out).recipe == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "run"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "--reference", "a.json"], r"--reference: .*run has not finished; give a finished run"),
        (["{empty}"], r"metrics.jsonl: no such file; give the run_dir"),
        (["{run}", "--out", "a.pdf"], r"a.pdf: must end in .html .* or in .png"),
        (["{run}", "{empty}", "--follow"], r"--follow shows one run, 2 are given"),
        (["{empty}/nowhere", "--follow"], r"nowhere: no such directory; give the run_dir"),
        (["{run}", "--out", "{run}/recipe.toml/page.html"], r"--out: .*recipe.toml: cannot be made a directory"),
        (["{run}", "--png", "{run}/recipe.toml", "--out", "{empty}/a.html"], r"--png: .*recipe.toml: cannot be"),
    ],
)
def test_what_cannot_be_done_is_named(tmp_path, arguments, message):
    """The error names the path and the remedy."""
    run = make_run(tmp_path / "run", 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message):
        report([argument.format(run=run, empty=tmp_path / "empty") for argument in arguments])
