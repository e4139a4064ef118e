"""Laws of preprocessing/checks.py: contradictory options are errors before any work begins."""

import pytest

from preprocessing.__main__ import main


@pytest.fixture
def run(tmp_path, corpus, monkeypatch, capsys):
    """A function that runs all stages with more options; returns status, message, and whether anything was written."""
    monkeypatch.setattr("preprocessing.__main__.run_stages", lambda *_: pytest.fail("the work has begun"))

    def started(*options, out="out"):
        status = main(["run", "--out", str(tmp_path / out), "--sources", f"jsonl:{corpus}", *map(str, options)])
        assert not (tmp_path / out).exists()
        return status, capsys.readouterr().err

    return started


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", 1, 2], "--weights has 2 numbers and the documents come from 1 sources"),
        (["--near_threshold", 0.9], "near_threshold = 0.9: has no effect with deduplicate = exact; leave it out"),
        (["--ngram_words", 5], "ngram_words = 5: has no effect without evaluation data"),
        (["--split_mb", 1e-9], "split_mb = 1e-09: must be at least 0.0001"),
        (["--partition_mb", 0], "partition_mb = 0.0: must be at least 0.0001"),
    ],
)
def test_options_are_checked_against_each_other(run, options, message):
    """Contradictory options end with status 2 and one line."""
    status, error = run(*options)
    assert status == 2 and error.startswith("error: ") and message in error and error.count("\n") == 1


def test_a_vocabulary_is_read_before_the_text(run, tmp_path):
    """A vocabulary that is missing, is none, or has another kind or size ends with status 1 and one line before the
    text is read.
    """
    path = tmp_path / "vocab.txt"
    status, error = run("--vocab", path)
    assert status == 1 and error.startswith(f"error: --vocab = {path}: no such file or directory; give a vocab.txt, a ")
    path.write_text("[PAD]\n")
    assert "lacks [UNK]" in run("--vocab", path)[1]
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"a{n}" for n in range(200))]))
    assert "kind = unigram: the vocabulary is of kind wordpiece" in run("--vocab", path, "--kind", "unigram")[1]
    assert "vocab_size = 300: the vocabulary has 205 tokens" in run("--vocab", path, "--vocab_size", "300")[1]


def test_an_output_inside_the_input_is_refused(run, tmp_path):
    """An output directory inside the input, whose files the next run would read, is an error."""
    (tmp_path / "books").mkdir()
    status, error = run("--sources", f"file:{tmp_path / 'books'}", out="books/out")
    assert status == 2 and "is inside the input" in error
