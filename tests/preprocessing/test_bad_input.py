"""Bad input and wrong options end the command line with one clear error, and nothing is left."""

import json

import pytest
from jobs import command, content

from preprocessing.__main__ import exit_status, main

GOOD = json.dumps({"text": "A good document. It has two sentences."}).encode()
BAD_INPUT = {
    "empty corpus": (b"", "--sources: the files are empty"),
    "blank corpus": (b"\n\n", "--sources: no document in the input"),
    "no sentences": (GOOD + b'\n{"text": "  "}\n', "no sentences: 1, first at"),
    "long sentence": (
        GOOD + b'\n{"text": "' + b"x" * 100_000 + b'"}\n',
        "in.jsonl:2: 100,000 characters, more than max_sentence_chars = 10,000",
    ),
    "not UTF-8": (GOOD + b'\n{"text": "caf\xe9"}\n', "not UTF-8: 1, first at"),
    "broken line": (GOOD + b'\n\n{"text": \n', "in.jsonl:3: Expecting value at column 10"),
    "no text key": (b'{"body": "x", "id": 1}\n', "in.jsonl:1: no key 'text'; available keys: body, id; set --text_key"),
    "one document": (GOOD + b"\n", "documents are in split"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_clear_error(tmp_path, capsys, case):
    """Bad input ends with status 1 and a message with its place and without traceback, and there are no samples."""
    data, message = BAD_INPUT[case]
    (tmp_path / "in.jsonl").write_bytes(data)
    assert main(command(tmp_path / "in.jsonl", tmp_path / "out", "--executor", "serial")) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error
    assert not list(tmp_path.glob("out/samples*"))
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".tmp"]


def test_a_vocabulary_without_mask_is_refused(corpus, tmp_path, capsys):
    """A vocabulary without a special token is an error that names the token."""
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n")
    assert main(["tokenizer", "--out", str(tmp_path / "out"), "--vocab", str(tmp_path / "vocab.txt")]) == 1
    assert "vocab.txt: lacks [MASK]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_foreign_output_directory_is_left_alone(corpus, tmp_path, capsys):
    """An --out with other content is an error before anything is written."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    assert main(command(corpus, tmp_path / "out")) == 1
    assert "out: holds thesis.tex, which this program did not make" in capsys.readouterr().err
    assert content(tmp_path / "out") == {"thesis.tex": b"x"}


def test_a_stage_needs_the_one_before(corpus, tmp_path, capsys):
    """`build` without documents, or without a tokenizer, is an error that states what to run first."""
    build = ["build", "--out", str(tmp_path / "out"), "--executor", "serial"]
    assert main(build) == 1
    assert "run `python -m preprocessing extract` to its end first" in capsys.readouterr().err
    main(["extract", "--sources", f"jsonl:{corpus}", "--out", str(tmp_path / "out"), "--executor", "serial"])
    assert main(build) == 1
    assert "run `python -m preprocessing tokenizer` to its end first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (OSError(28, "No space left on device", "a.arrow"), 1, "error: [Errno 28] No space left on device: 'a.arrow'"),
        (KeyboardInterrupt(), 130, "interrupted: run the same command again"),
        (ZeroDivisionError("our own mistake"), 1, "Traceback"),
    ],
)
def test_what_ends_a_run_is_told_apart(capsys, error, status, message):
    """Errors of the user take one line, an interruption says how to continue, and errors of the program have a
    traceback.
    """

    def fail():
        raise error

    assert exit_status(fail) == status
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--duplicates", "0"], "error: duplicates = 0: must be at least 1"),
        (["--segments", "pairs"], "error: segments = 'pairs': must be one of nsp, sop"),
        (["--vocab_sze", "7"], "--vocab_sze"),
        (["--workers", "two"], "error: --workers = two: must be a whole number"),
        (["--weights", "1", "2"], "error: --weights has 2 numbers and the documents come from 1 sources"),
        (["--vocab", "v.txt", "--train_mb", "5"], "error: train_mb = 5.0: has no effect with vocab"),
    ],
)
def test_wrong_options_exit_with_2(corpus, tmp_path, capsys, options, message):
    """An option that is out of range, unknown, or of the wrong type is named with status 2, and nothing is written."""
    try:
        status = main(command(corpus, tmp_path / "out", *options))
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
