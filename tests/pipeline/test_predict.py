"""Predictions from the command line: options, examples, the file that is written, and models that are refused."""

import io
import json
import shutil

import pytest
from prediction_cases import TEXTS, expected_classes, stdin, write_classifier

from pipeline.predict import predict


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model with three classes."""
    return write_classifier(tmp_path_factory.mktemp("predict"))


def test_lines_of_standard_input(model, monkeypatch, capsys):
    """Each line of standard input that is not empty is a text."""
    monkeypatch.setattr("sys.stdin", stdin("\n".join([TEXTS[0], "", *TEXTS[1:]]) + "\n"))
    predict([str(model), "--max_tokens", "8"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == TEXTS
    assert [line["label"] for line in lines] == [label for label, _ in expected_classes(model, TEXTS)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max_length", "33"], "--max_length 33: must be at most 32"),
        (["--max_length", "-3"], "--max_length -3: must be at least 3; special tokens are included"),
        (["--max_tokens", "0"], "--max_tokens 0: must be at least 1"),
        (["nowhere.tsv"], "nowhere.tsv: does not exist; name the file with the examples"),
    ],
)
def test_wrong_options(model, options, message):
    """A wrong option is one error with a remedy."""
    with pytest.raises(ValueError, match=message):
        predict([str(model), *options])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kind", "fill"], r"texts.txt:2: text = 'w1 w2': has no \[MASK\] in its first 32 tokens; put one where"),
        (["--kind", "embed", "--second", "b"], "--second b: an embedding is that of one text; remove the option"),
        (["--kind", "fill", "--second", "b"], "--second b: masks are filled in one text; remove the option"),
        (["--normalize", "true"], "--normalize true: only embeddings are normalised; give --kind embed"),
        (["--kind", "fill", "--top", "0"], "--top 0: must be at least 1"),
    ],
)
def test_wrong_options_of_embeddings_and_masks(model, tmp_path, options, message):
    """A text without a mask is one error with its line, and so is an option that has no effect."""
    (tmp_path / "texts.txt").write_text("w1 [MASK]\nw1 w2\n")
    with pytest.raises(ValueError, match=message):
        predict([str(model.parent / "base"), str(tmp_path / "texts.txt"), *options])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", r"a.txt: has no examples; give a file with a text in each line"),
        ("a.txt", b"w1\nw2 \xe9\n", r"a.txt:2: is no UTF-8 text \(.*\); convert it to UTF-8"),
        (
            "a.json",
            b"[]",
            r"a.json: the name must end in .txt or .tsv, .csv, .jsonl, .parquet, which states the format",
        ),
        ("a.tsv", b"text\n", r"a.tsv: has no examples"),
        ("a.tsv", b"sentence\nw1\n", r"a.tsv:2: has no column 'text', only 'sentence'; rename one, or name another"),
        ("a.jsonl", b'{"text": "w1"}\n{"text": 5}\n', r"a.jsonl:2: text = 5: must be Unicode text"),
    ],
)
def test_wrong_examples_leave_the_output_as_it_is(model, tmp_path, name, content, message):
    """A wrong file is one error with file, line and remedy, and the file of the predictions is not touched."""
    (tmp_path / name).write_bytes(content)
    (tmp_path / "out.jsonl").write_text("old")
    with pytest.raises(ValueError, match=message):
        predict([str(model), str(tmp_path / name), "--out", str(tmp_path / "out.jsonl")])
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "out.jsonl"]
    assert (tmp_path / "out.jsonl").read_text() == "old"


def test_the_output_is_a_file_or_what_a_link_leads_to(model, tmp_path):
    """Predictions replace a file, are written through a link such as /dev/stdout, and need an existing directory."""
    (tmp_path / "a.txt").write_text("w1")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("target", "link"):
        predict([str(model), str(tmp_path / "a.txt"), "--out", str(tmp_path / name)])
        assert json.loads((tmp_path / "target").read_text())["text"] == "w1"
        (tmp_path / "target").write_text("old")
    assert (tmp_path / "link").is_symlink()
    for out in (tmp_path / "nowhere" / "out", tmp_path):
        with pytest.raises(ValueError, match=rf"--out {out}: must be a file in an existing directory; name one, or"):
            predict([str(model), str(tmp_path / "a.txt"), "--out", str(out)])


def test_standard_input_that_is_no_text(model, monkeypatch):
    """The line is named, whatever the encoding of the terminal."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"w1\n\xe9\n"), encoding="latin-1"))
    with pytest.raises(ValueError, match=r"standard input:2: is no UTF-8 text"):
        predict([str(model)])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"id2label": {"x": "a"}},
            r"cannot load|config.json: id2label = .*: must map numbers to names; restore config.json",
        ),
        (
            {"architectures": "Bert"},
            r"config.json: architectures = 'Bert': must be a list of names of classes; restore",
        ),
        ({"vocab_size": 70}, r"config.json: vocab_size = 70, but the weights hold 60 tokens; take both files from the"),
        (
            {"num_hidden_layers": 10**9},
            r"num_hidden_layers = 1000000000, but the weights hold 2 layers; take both files",
        ),
    ],
)
def test_a_damaged_configuration_is_named(model, tmp_path, fields, message):
    """A field that cannot be used is one error with a remedy, before a model is built."""
    damaged = shutil.copytree(model, tmp_path / "model")
    config = json.loads((damaged / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps(config | fields))
    (tmp_path / "a.txt").write_text("w1")
    with pytest.raises(ValueError, match=message):
        predict([str(damaged), str(tmp_path / "a.txt")])


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(model, tmp_path):
    """The tokenizer of another model, or one with a gap in its ids, would give ids without an embedding."""
    other = shutil.copytree(model, tmp_path / "model")
    content = json.loads((other / "tokenizer.json").read_text())
    content["model"]["vocab"]["w9"] = 200
    (other / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "a.txt").write_text("w1")
    with pytest.raises(
        ValueError, match="the weights hold 60 tokens, the tokenizer 201; take both from the same model"
    ):
        predict([str(other), str(tmp_path / "a.txt")])
