"""Predictions equal those of `transformers`, in the order of the examples."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from deberta_cases import decoded
from finetuning_data import VOCAB_SIZE, write_deberta, write_exported, write_model
from safetensors.torch import load_file

from pipeline.conversion import huggingface, task_models
from pipeline.families import get_family
from pipeline.jobs.predictions.answer import threshold_of
from pipeline.jobs.predictions.classify import prediction
from pipeline.jobs.predictions.tag import entities_of
from pipeline.predict import predict
from pipeline.tasks.base import class_fields

TEXTS = ["w1 w2 w3 w5 w6 w7 w9", "w2", "w9 w9 w3", "w5 w1"]


def stdin(text):
    """Return standard input with a text."""
    return io.TextIOWrapper(io.BytesIO(text.encode()))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model with three classes."""
    folder, family = tmp_path_factory.mktemp("predict"), get_family("bert")
    directory = write_model(folder / "base")
    begun = task_models.begin(directory, family, family.heads["sequence"], 3, 0.1, vocab_size=VOCAB_SIZE, seed=5)
    fields = {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}
    weights = begun.model.state_dict()
    task_models.write(family, family.heads["sequence"], weights, begun.config, fields, directory, folder / "m", "")
    return folder / "m"


def expected(model, texts, pairs=None):
    """(class, probability) of each text, by transformers."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(model).eval()
    inputs = tokenizer(texts, pairs, padding=True, return_tensors="pt")
    with torch.inference_mode():
        best = loaded(**inputs).logits.softmax(1).max(1)
    return [("abc"[number], value) for number, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def found(path):
    return [(line["label"], pytest.approx(line["score"], abs=2e-6)) for line in map(json.loads, path.open())]


def test_lines_of_standard_input(model, monkeypatch, capsys):
    """Each line of standard input that is not empty is a text."""
    monkeypatch.setattr("sys.stdin", stdin("\n".join([TEXTS[0], "", *TEXTS[1:]]) + "\n"))
    predict([str(model), "--max_tokens", "8"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == TEXTS
    assert [line["label"] for line in lines] == [label for label, _ in expected(model, TEXTS)]


def test_pairs_of_a_table(model, tmp_path):
    """The columns of a pair are named, and the predictions are written to the named file."""
    rows = [{"question": one, "passage": other} for one, other in zip(TEXTS, reversed(TEXTS), strict=True)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = ["--first", "question", "--second", "passage"]
    predict([str(model), str(tmp_path / "pairs.jsonl"), *columns, "--out", str(tmp_path / "out.jsonl")])
    assert found(tmp_path / "out.jsonl") == expected(model, TEXTS, TEXTS[::-1])


def test_a_number_has_no_class():
    """A regression's logit is its prediction; a probability follows from all logits."""
    assert prediction(np.array([1.5], np.float32), ()) == {"value": 1.5}
    assert prediction(np.array([0.0, 0.0, -np.inf], np.float32), ("a", "b", "c")) == {"label": "a", "score": 0.5}


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


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """A model that tags words."""
    folder, family = tmp_path_factory.mktemp("tagger"), get_family("bert")
    directory, head = write_model(folder / "base"), family.heads["tokens"]
    begun = task_models.begin(directory, family, head, 3, 0.1, vocab_size=VOCAB_SIZE, seed=5)
    fields = class_fields(("O", "B-x", "I-x"))
    task_models.write(family, head, begun.model.state_dict(), begun.config, fields, directory, folder / "m", "")
    return folder / "m"


def test_words_and_entities(tagger, tmp_path, capsys):
    """Words have the tags and probabilities that `transformers` computes for their first tokens; entities are spans."""
    texts = ["w1p4 w2,w3p8p12", "w9 \u200b w7.w6 !"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    predict([str(tagger), str(tmp_path / "texts.txt")])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tagger)
    loaded = transformers.AutoModelForTokenClassification.from_pretrained(tagger).eval()
    for line, text in zip(lines, texts, strict=True):
        assert line["text"] == text
        inputs = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            scores, best = loaded(**inputs).logits[0].softmax(1).max(1)
        for word in line["words"]:
            assert text[word["start"] : word["end"]] == word["word"]
            first = inputs.char_to_token(word["start"])
            if first is None:
                assert (word["tag"], word["score"]) == ("O", 1)
                continue
            assert word["tag"] == loaded.config.id2label[int(best[first])]
            assert word["score"] == pytest.approx(float(scores[first]), abs=2e-6)
        for entity in line["entities"]:
            assert text[entity["start"] : entity["end"]] == entity["text"] and entity["kind"] == "x"
    assert [word["word"] for word in lines[1]["words"]] == ["w9", "\u200b", "w7.w6", "!"]
    assert any(line["entities"] for line in lines)


def test_entities_are_those_of_the_tags():
    """An entity has the characters from its first to its last word; classes that are no tags have no entities."""
    words = [
        {"start": start, "end": start + 2, "tag": tag, "score": score}
        for start, tag, score in ((0, "B-x", 0.5), (3, "I-x", 1.0), (6, "O", 1.0))
    ]
    expected = {"kind": "x", "text": "ab cd", "start": 0, "end": 5, "score": 0.75}
    assert entities_of("ab cd ef", words, ("O", "B-x", "I-x")) == {"entities": [expected]}
    assert entities_of("ab cd ef", words, ("NOUN", "VERB")) == {}


def write_answerer(folder, **fields):
    """A model that answers questions."""
    family = get_family("bert")
    directory, head = write_model(folder / "base"), family.heads["spans"]
    begun = task_models.begin(directory, family, head, 2, 0.1, vocab_size=VOCAB_SIZE, seed=5)
    task_models.write(family, head, begun.model.state_dict(), begun.config, fields, directory, folder / "m", "")
    return folder / "m"


CONTEXTS = ["w1p4 w2, (w3p8) w5.", "w9 w7 w6 w1 w2"]


def test_answers(tmp_path, monkeypatch, capsys):
    """The answer is the span of the context with the largest sum of the logits that `transformers` computes."""
    model = write_answerer(tmp_path, null_threshold=1000.0)
    lines = [json.dumps({"question": "w9?", "context": context}) for context in CONTEXTS]
    monkeypatch.setattr("sys.stdin", stdin("\n".join(lines) + "\n"))
    predict([str(model)])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    loaded = transformers.AutoModelForQuestionAnswering.from_pretrained(model).eval()
    for line, context in zip(found, CONTEXTS, strict=True):
        inputs = tokenizer("w9?", context, return_tensors="pt")
        with torch.inference_mode():
            logits = loaded(**inputs)
        inside = [number for number, part in enumerate(inputs.sequence_ids()) if part == 1]
        sums = {
            (first, last): float(logits.start_logits[0, first] + logits.end_logits[0, last])
            for first in inside
            for last in inside
            if last >= first
        }
        first, last = max(sums, key=sums.get)
        assert (line["start"], line["end"]) == (inputs.token_to_chars(first).start, inputs.token_to_chars(last).end)
        assert line["answer"] == context[line["start"] : line["end"]] and line["context"] == context
        assert 0 < line["score"] < 1


def test_no_answer_above_the_threshold(tmp_path):
    """An answer is empty and has no characters where that of no answer is better by more than the threshold."""
    model = write_answerer(tmp_path, null_threshold=-1000.0)
    (tmp_path / "a.jsonl").write_text(json.dumps({"q": "w9?", "context": CONTEXTS[0]}) + "\n")
    predict([str(model), str(tmp_path / "a.jsonl"), "--first", "q", "--out", str(tmp_path / "out.jsonl")])
    line = json.loads((tmp_path / "out.jsonl").read_text())
    assert (line["answer"], line["start"], line["end"]) == ("", None, None) and line["q"] == "w9?"
    with pytest.raises(ValueError, match=r"null_threshold = 'x': must be a number"):
        threshold_of({"null_threshold": "x"})
    (tmp_path / "a.txt").write_text("w1\n")
    with pytest.raises(ValueError, match=r"a.txt: has one text a line, but an example has question and context"):
        predict([str(model), str(tmp_path / "a.txt")])


def test_the_most_likely_ending(tmp_path, monkeypatch, capsys):
    """The ending has the largest of the logits that `transformers` computes for the endings of a row."""
    family, base = get_family("bert"), write_model(tmp_path / "base")
    head, model = family.heads["choices"], tmp_path / "m"
    begun = task_models.begin(base, family, head, 1, 0.1, vocab_size=VOCAB_SIZE, seed=5)
    task_models.write(family, head, begun.model.state_dict(), begun.config, {}, base, model, "")
    rows = [
        {"sent1": "w1 w2", "sent2": first, "ending0": "w5", "ending1": "w6 w7", "ending2": "w9 w9"}
        for first in ("w3", "w5 w6 w7", "w11")
    ]
    monkeypatch.setattr("sys.stdin", stdin("\n".join(map(json.dumps, rows)) + "\n"))
    predict([str(model)])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    loaded = transformers.AutoModelForMultipleChoice.from_pretrained(model).eval()
    for row, line in zip(rows, lines, strict=True):
        seconds = [f"{row['sent2']} {row[f'ending{number}']}" for number in range(3)]
        inputs = tokenizer([row["sent1"]] * 3, seconds, padding=True, return_tensors="pt")
        with torch.inference_mode():
            shares = loaded(**{name: values[None] for name, values in inputs.items()}).logits[0].softmax(0)
        assert line["choice"] == int(shares.argmax()) and line["ending"] == row[f"ending{line['choice']}"]
        assert line["score"] == pytest.approx(float(shares.max()), abs=2e-6)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A pre-trained model with its heads."""
    return write_model(tmp_path_factory.mktemp("pretrained") / "model")


def lines_of(capsys, *arguments):
    """Return the objects that a command writes."""
    predict([*map(str, arguments)])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("normalize", ["true", "false"])
def test_embeddings_are_means_over_the_tokens_of_the_text(pretrained, tmp_path, capsys, normalize):
    """They equal the means of the last hidden states of `transformers` without special tokens, in the texts' order."""
    (tmp_path / "texts.txt").write_text("\n".join([*TEXTS, "\u200b"]))
    options = ["--kind", "embed", "--normalize", normalize, "--max_tokens", "12"]
    found = lines_of(capsys, pretrained, tmp_path / "texts.txt", *options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(pretrained)
    encoder = transformers.AutoModel.from_pretrained(pretrained).eval()
    assert [line["text"] for line in found] == [*TEXTS, "\u200b"]
    for line in found[:-1]:
        with torch.inference_mode():
            states = encoder(**tokenizer(line["text"], return_tensors="pt")).last_hidden_state[0]
        mean = states[1:-1].mean(0)
        expected = mean / mean.norm() if normalize == "true" else mean
        np.testing.assert_allclose(line["embedding"], expected, atol=2e-6)
    assert set(found[-1]["embedding"]) == {0.0}, "a text without tokens"


def test_a_fine_tuned_model_gives_embeddings(model, tmp_path, capsys):
    """The heads of a model have no influence on the embeddings."""
    (tmp_path / "texts.txt").write_text("w1 w2")
    found = lines_of(capsys, model, tmp_path / "texts.txt", "--kind", "embed")
    base = lines_of(capsys, model.parent / "base", tmp_path / "texts.txt", "--kind", "embed")
    assert found == base


def test_words_for_masks(pretrained, tmp_path, capsys):
    """They are those of the command that fills one text, in texts of different lengths and numbers of masks."""
    texts = ["w1 [MASK] w3 w9 [MASK]", "[MASK]", "w5 w6 [MASK]"]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    found = lines_of(capsys, pretrained, tmp_path / "texts.txt", "--kind", "fill", "--top", "2", "--max_tokens", "8")
    for line, text in zip(found, texts, strict=True):
        expected = huggingface.fill_masks(pretrained, text, 2)
        assert line["text"] == text
        words = [[(guess["word"], pytest.approx(guess["score"], abs=2e-6)) for guess in mask] for mask in line["masks"]]
        assert words == expected


def test_a_generator_fills_masks(tmp_path, capsys):
    """The masked language model of an ELECTRA is its generator, in a directory of its own."""
    generator = write_exported(tmp_path / "electra", "electra") / "generator"
    (tmp_path / "texts.txt").write_text("w1 [MASK] w3 [MASK]")
    (line,) = lines_of(capsys, generator, tmp_path / "texts.txt", "--kind", "fill", "--top", "2")
    words = [[(guess["word"], pytest.approx(guess["score"], abs=2e-6)) for guess in mask] for mask in line["masks"]]
    assert words == huggingface.fill_masks(generator, line["text"], 2)


def test_a_mask_decoder_fills_masks(tmp_path, capsys):
    """The words of a DeBERTa are those of its mask decoder, which `transformers` lacks, computed with its layers."""
    model, text = write_deberta(tmp_path / "model"), "w1 [MASK] w3 w9 [MASK]"
    (tmp_path / "texts.txt").write_text(text)
    (line,) = lines_of(capsys, model, tmp_path / "texts.txt", "--kind", "fill", "--top", "1")
    theirs = transformers.DebertaV2ForMaskedLM.from_pretrained(model).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    positions = load_file(model / "model.safetensors")["deberta.embeddings.position_embeddings.weight"]
    inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        logits = decoded(theirs, positions, inputs)[inputs["input_ids"] == tokenizer.mask_token_id]
        others = theirs(**inputs).logits[inputs["input_ids"] == tokenizer.mask_token_id]
    best, of_head = logits.softmax(1).max(1), others.softmax(1).max(1)
    expected = [
        (tokenizer.decode(token).strip(), pytest.approx(float(value), abs=2e-6))
        for token, value in zip(best.indices, best.values, strict=True)
    ]
    assert [(mask[0]["word"], mask[0]["score"]) for mask in line["masks"]] == expected
    assert (best.values - of_head.values).abs().min() > 1e-3, "the decoder has no effect"


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
def test_wrong_options_of_embeddings_and_masks(pretrained, tmp_path, options, message):
    """A text without a mask is one error with its line, and so is an option that has no effect."""
    (tmp_path / "texts.txt").write_text("w1 [MASK]\nw1 w2\n")
    with pytest.raises(ValueError, match=message):
        predict([str(pretrained), str(tmp_path / "texts.txt"), *options])


def test_a_model_without_the_head_fills_no_masks(model, tmp_path):
    """A classifier has no head for masked tokens, which is an error."""
    (tmp_path / "texts.txt").write_text("[MASK]")
    with pytest.raises(ValueError, match="--kind fill needs the head for masked tokens"):
        predict([str(model), str(tmp_path / "texts.txt"), "--kind", "fill"])
