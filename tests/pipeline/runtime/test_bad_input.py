"""Bad input is one clear error in training, on every rank, without a hang and without partial output."""

import json
import re
import shutil
from pathlib import Path

import pytest
from attempts import attempts
from ranks import on_ranks
from recipes import SMALL, write_recipe
from samples import make_samples, write_tokenizer


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_manifest(samples, **values):
    path = samples / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def damaged_samples(directory):
    """Return name -> (samples directory, expected error)."""
    good = make_samples(directory / "good", train=40, heldout=8)
    cases = {
        "cut": "train-00000.arrow: has .* bytes, the manifest says",
        "flipped": "train-00000.arrow: sha256 is",
        "version": "format_version is 99, this version reads 2",
        "tokenizer": "tokenizer.json: sha256 is .* another tokenizer",
        "segments": "family bert trains on nsp .*; build them with --segments nsp, or set model.next_sentence",
        "unfinished": "no manifest.json, so this is not a finished samples directory",
    }
    copies = {name: Path(shutil.copytree(good, directory / name)) for name in cases}
    shard = copies["cut"] / "train-00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-100])
    flip_a_bit(copies["flipped"] / "train-00000.arrow")
    edit_manifest(copies["version"], format_version=99)
    edit_manifest(copies["segments"], segments="blocks")
    shutil.rmtree(copies["tokenizer"] / "tokenizer")
    write_tokenizer(copies["tokenizer"] / "tokenizer", 119)
    (copies["unfinished"] / "manifest.json").unlink()
    return good, {name: (copies[name], message) for name, message in cases.items()}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """The results by name: (what each rank raised, expected error, the run's directory)."""
    directory = tmp_path_factory.mktemp("bad")
    good, damaged = damaged_samples(directory)
    (directory / "owned.json").write_text('{"train_batch_size": 8}')
    (directory / "monitor.json").write_text('{"comet": {"enabled": true}}')
    (directory / "foreign").mkdir()
    (directory / "foreign" / "thesis.tex").write_text("")

    cases = {}

    def case(name, message, *options, samples=good, run=None):
        recipe = write_recipe(directory, samples, run or f"run-{name}", **SMALL)
        cases[name] = (["--recipe", str(recipe), *options], message)

    for name, (samples, message) in damaged.items():
        case(name, message, samples=samples)
    case("unknown key", "unknown option --optimizer.learning_rate", "--optimizer.learning_rate", "1")
    case("uneven batch", "batch.global_batch_size = 9: must be a multiple of", "--batch.global_batch_size", "9")
    case("positions", "sequences of up to 32 tokens", "--model.max_position_embeddings", "31")
    case(
        "owned", "train_batch_size = 8 is set here, but the recipe", "--engine.deepspeed", str(directory / "owned.json")
    )
    case(
        "monitor",
        "monitor.json: comet.enabled = true, but comet_ml is not installed: pip install comet_ml, or",
        *("--engine.deepspeed", str(directory / "monitor.json")),
    )
    case("foreign", "exists and is not a run", run="foreign")
    case("init", "neither a checkpoint nor a run", "--init_from", str(directory / "nowhere"))
    diverging = ("--optimizer.lr", "1e30", "--engine.precision", "fp32", "--schedule.total_steps", "9")
    case("diverging", "3 steps in a row, up to", *diverging, "--engine.max_skipped_steps", "3")
    case("first", "passed")
    results = on_ranks(attempts, 2, [arguments for arguments, _ in cases.values()])

    first = directory / "run-first"
    weights = first / "checkpoints" / "step-00000002" / "rank-00001.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    again = on_ranks(attempts, 2, [cases["first"][0]])
    table = {name: ([rank[i] for rank in results], message) for i, (name, (_, message)) in enumerate(cases.items())}
    table["checkpoint"] = ([rank[0] for rank in again], r"no checkpoint is sound .*: \d+ bytes, \d+ were written")
    return directory, table


NAMES = (
    "cut",
    "flipped",
    "version",
    "tokenizer",
    "segments",
    "unfinished",
    "unknown key",
    "uneven batch",
    "positions",
    "owned",
    "monitor",
    "init",
    "checkpoint",
)


@pytest.mark.parametrize("name", NAMES)
def test_one_rank_says_what_is_wrong_and_the_others_stop(outcomes, name):
    """Exactly one rank has the error and the other a PeerError, and no run directory is made."""
    directory, table = outcomes
    ranks, message = table[name]
    assert sorted(kind == "PeerError" for kind, _ in ranks) == [False, True], ranks
    assert any(re.search(message, text) for _, text in ranks), ranks
    assert not (directory / f"run-{name}").exists()


def test_foreign_directory_is_left_alone(outcomes):
    """Nothing is written to a directory that is not a run."""
    directory, table = outcomes
    assert any("exists and is not a run" in text for _, text in table["foreign"][0])
    assert [path.name for path in (directory / "foreign").iterdir()] == ["thesis.tex"]


def test_loss_that_is_not_a_number_stops_the_run(outcomes):
    """A diverged run ends with one message that states the step and what to change."""
    ranks, message = outcomes[1]["diverging"]
    assert [kind for kind, _ in ranks] == ["FloatingPointError", "PeerError"]
    assert re.search(message, ranks[0][1]) and "lower optimizer.lr" in ranks[0][1]


def test_good_input_passes(outcomes):
    """The same recipe without a fault trains, so that the errors above have no other cause."""
    assert outcomes[1]["first"][0] == [("", "passed")] * 2
