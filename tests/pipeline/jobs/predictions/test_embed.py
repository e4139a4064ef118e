"""Embeddings of texts equal means of the hidden states of `transformers`."""

import numpy as np
import pytest
import torch
import transformers
from finetuning_data import write_model
from prediction_cases import TEXTS, lines_of, write_classifier


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A pre-trained model with its heads."""
    return write_model(tmp_path_factory.mktemp("pretrained") / "model")


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


def test_a_fine_tuned_model_gives_embeddings(tmp_path, capsys):
    """The heads of a model have no influence on the embeddings."""
    model = write_classifier(tmp_path)
    (tmp_path / "texts.txt").write_text("w1 w2")
    found = lines_of(capsys, model, tmp_path / "texts.txt", "--kind", "embed")
    base = lines_of(capsys, tmp_path / "base", tmp_path / "texts.txt", "--kind", "embed")
    assert found == base
