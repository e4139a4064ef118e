"""Continued pre-training from end to end: a model is imported, extended, trained on new texts and exported."""

import json
import tomllib

import transformers
from killed_runs import runs
from pretrained_models import bert, saved
from ranks import on_ranks
from recipes import curve

from pipeline.checkpoints import checkpoint
from pipeline.convert import convert
from preprocessing.__main__ import main

WORDS = ["the", "cat", "sat", "dog", "cats", "dogs", "heparin"]


def test_a_model_is_imported_extended_trained_and_exported(tmp_path):
    """Samples are made with the model's own tokenizer, extended by a word; the written recipe trains on them from the
    model's weights, and the export has the new word.
    """
    start, longer = tmp_path / "start", tmp_path / "longer"
    saved(bert("BertModel"), tmp_path / "model")
    convert(["import", str(tmp_path / "model"), str(start), "--new_heads", "true"])
    (tmp_path / "words.txt").write_text("heparin\n")
    recipe = str(tmp_path / "recipe.toml")
    convert(["extend", str(start), str(longer), "--words", str(tmp_path / "words.txt"), "--recipe", recipe])

    sentences = [" ".join(WORDS[(number + each) % 7] for each in range(5)) for number in range(70)]
    texts = [{"text": f"{'. '.join(sentences[first : first + 9])}. {first}."} for first in range(60)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    options = ["--vocab", str(longer / "tokenizer"), "--segments", "full_sentences", "--max_seq_length", "32"]
    options += ["--workers", "1", "--heldout_share", "0.2", "--sources", f"jsonl:{tmp_path / 'texts.jsonl'}"]
    assert main(["run", "--out", str(tmp_path / "data"), *options]) == 0

    written = tomllib.loads((tmp_path / "recipe.toml").read_text())
    assert written["data"]["samples"] == "data/samples32-full_sentences"
    arguments = ["--recipe", recipe, "--run_dir", str(tmp_path / "run")]
    arguments += ["--data.samples", str(tmp_path / "data" / "samples32-full_sentences"), "--data.num_workers", "0"]
    arguments += ["--batch.global_batch_size", "8", "--batch.micro_batch_size", "8", "--schedule.total_steps", "6"]
    arguments += ["--optimizer.lr", "1e-2", "--logging.every", "1", "--logging.tensorboard", "false"]
    arguments += ["--evaluation.samples", "8"]
    on_ranks(runs, 1, [(arguments, None)])

    losses = curve(tmp_path / "run")
    assert len(losses) == 6 and losses[-1] < losses[0]
    convert(["export", str(tmp_path / "run"), str(tmp_path / "out")])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    model = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    assert tokenizer.tokenize("heparin") == ["heparin"] and len(tokenizer) == model.config.vocab_size == 12
    assert checkpoint.read_state(longer)["vocab_size"] == 12
