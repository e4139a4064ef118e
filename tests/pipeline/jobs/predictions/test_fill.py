"""Words for masks equal those of `transformers`, and need a head for masked tokens."""

import pytest
import torch
import transformers
from deberta_cases import decoded
from finetuning_data import write_deberta, write_exported, write_spanbert
from made_checkpoints import WRITERS
from prediction_cases import lines_of, write_classifier
from safetensors.torch import load_file

from pipeline.conversion import huggingface
from pipeline.predict import predict


@pytest.mark.parametrize("family", sorted(WRITERS.keys() - {"electra", "deberta"}))
def test_words_for_masks(family, tmp_path, capsys):
    """They are those of the command that fills one text, in texts of different lengths and numbers of masks, also where
    an export has no head of span boundaries.
    """
    pretrained = WRITERS[family](tmp_path / "model")
    mask = transformers.AutoTokenizer.from_pretrained(pretrained).mask_token
    texts = [f"w1 {mask} w3 w9 {mask}", mask, f"w5 w6 {mask}"]
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


def without_head(folder):
    """Write a SpanBERT without its head for masked tokens."""
    model = write_spanbert(folder / "model")
    transformers.BertModel.from_pretrained(model).save_pretrained(model)
    return model


@pytest.mark.parametrize("write", [write_classifier, without_head])
def test_a_model_without_the_head_fills_no_masks(write, tmp_path):
    """A classifier and an encoder have no head for masked tokens, which is an error."""
    model = write(tmp_path)
    (tmp_path / "texts.txt").write_text("[MASK]")
    with pytest.raises(ValueError, match="--kind fill needs the head for masked tokens"):
        predict([str(model), str(tmp_path / "texts.txt"), "--kind", "fill"])
