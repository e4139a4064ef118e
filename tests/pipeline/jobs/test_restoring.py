"""A run without checkpoints is new only if nothing records that it had some."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from attempts import attempts
from fragments import ABOUT, make_shard, position
from made_runs import event, saved, start, training, write_lines
from ranks import on_ranks
from recipes import SMALL, write_recipe
from samples import make_samples, write_tokenizer

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.record import DamagedError
from pipeline.checkpoints.saving import Saver
from pipeline.jobs.restoring import check_moments, check_position, recorded_step
from pipeline.runlog.events import Events
from pipeline.runlog.reader import read_lines

NULS = "\0" * 40 + "\n"


def interrupted(step):
    return event("interrupted", step, signal="SIGTERM")


@pytest.mark.parametrize(
    ("events", "metrics", "reached", "expected"),
    [
        ([], 0, 0, 0),
        ([start(0)], 5, 5, 0),  # killed before its first checkpoint
        ([start(0)], 250, 250, 0),  # killed while it wrote its first checkpoint
        ([start(0), saved(200)], 250, 0, 200),
        ([start(0), saved(200), saved(400), start(200)], 0, 0, 200),  # the newest was broken: known already
        ([start(0), interrupted(7)], 0, 0, 7),
        ([start(0), saved(200), start(0)], 30, 30, 0),  # a new beginning was asked for
        ([start(0), saved(200), event("failed", 0)], 0, 0, 200),  # a start that was refused changes nothing
        (None, 99, 0, 0),
        (None, 399, 0, 300),  # nobody knows of a checkpoint, but there must have been some
        (None, 0, 150, 100),
        ([start(0), NULS], 250, 0, 200),  # the event of the checkpoint may be lost
        ([start(0), NULS], 50, 50, 0),
    ],
)
def test_what_the_records_tell(tmp_path, events, metrics, reached, expected):
    """A complete list of events counts; otherwise the metrics and heartbeat do, with a checkpoint every 100 steps."""
    if events is not None:
        lines = [line if isinstance(line, str) else json.dumps(line) + "\n" for line in events]
        (tmp_path / "events.jsonl").write_text("".join(lines))
    if metrics:
        write_lines(tmp_path / "metrics.jsonl", [training(step) for step in range(1, metrics + 1)])
    step, evidence = recorded_step(tmp_path, 100, {"reached_step": reached})
    assert step == expected and bool(evidence) == bool(expected)


def rewrite_state(directory, **values):
    """Change state.json of a checkpoint, and adjust its manifest."""
    path, manifest = directory / "state.json", directory / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    content = json.loads(manifest.read_text())
    content["files"]["state.json"] = checkpoint.manifest_entry(path)
    manifest.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Samples, and a run of two steps with a checkpoint of each."""
    directory = tmp_path_factory.mktemp("runs")
    samples = make_samples(directory / "samples", train=40, heldout=8)
    make_samples(directory / "others", train=40, heldout=8, seed=1)
    words = json.loads((samples / "tokenizer" / "tokenizer.json").read_text())
    assert "w9" in words["model"]["vocab"]
    rename_token(shutil.copytree(samples, directory / "renamed"), "w9", "bread")
    (outcome,) = on_ranks(attempts, 1, [arguments(directory, "run")])[0]
    assert outcome == ("", "passed")
    return directory


def rename_token(samples, old, new):
    """Return the same samples with another word for one of the ids."""
    path = samples / "tokenizer" / "tokenizer.json"
    path.write_text(path.read_text().replace(f'"{old}"', f'"{new}"'))
    manifest = json.loads((samples / "manifest.json").read_text())
    manifest["tokenizer_sha256"] = checkpoint.manifest_entry(path)["sha256"]
    (samples / "manifest.json").write_text(json.dumps(manifest))


def test_a_position_that_the_step_cannot_have_is_damage():
    """The samples consumed must follow from the step; those of another recipe are for the caller to judge."""
    recipe = {"family": "bert", "batch": {"global_batch_size": 4}}
    request = SimpleNamespace(recipe=recipe, consumed_samples=lambda step: 4 * step)
    state = {"step": 2, "consumed_samples": 8, "recipe": recipe}
    check_position(Path("x"), state, request)
    check_position(Path("x"), state | {"consumed_samples": 9, "recipe": {"batch": {"global_batch_size": 3}}}, request)
    with pytest.raises(DamagedError, match="consumed_samples = 9 after 2 steps, which consume 8: damaged"):
        check_position(Path("x"), state | {"consumed_samples": 9}, request)


def arguments(folder, name, *options, samples="samples"):
    recipe = write_recipe(folder, folder / samples, name, **SMALL)
    return ["--recipe", str(recipe), "--checkpoint.every", "1", *options]


def lines(run, name="metrics.jsonl"):
    return (run / name).read_text().splitlines()


def outcomes(jobs):
    return on_ranks(attempts, 1, jobs)[0]


def test_lost_checkpoints_are_refused_until_a_new_beginning_is_asked_for(folder):
    """A run whose manifest is missing, whose checkpoints are all gone or are all damaged is refused and keeps its
    metrics; on request it starts anew.
    """
    names = ("manifests", "removed", "shape")
    runs = {name: Path(shutil.copytree(folder / "run", folder / name)) for name in names}
    for path in checkpoint.present(runs["manifests"]):
        (path / "manifest.json").unlink()
    shutil.rmtree(runs["removed"] / "checkpoints")
    for path in checkpoint.present(runs["shape"]):
        rewrite_state(path, step="two")
    before = {name: lines(run) for name, run in runs.items()}
    refused = outcomes([arguments(folder, name) for name in names])
    for name, run in runs.items():
        assert before[name] == lines(run), name
    assert "step-00000002/manifest.json: missing: the checkpoint is incomplete); put one back" in refused[0][1]
    assert "removed: events.jsonl records a checkpoint of step 2, but no checkpoint is there" in refused[1][1]
    assert "shape: no checkpoint is sound (" in refused[2][1]
    assert all("--restart_from_scratch true" in message for _, message in refused)

    again = outcomes([arguments(folder, name, "--restart_from_scratch", "true") for name in names])
    assert again == [("", "passed")] * 3
    for name, run in runs.items():
        assert lines(run, "metrics.1.jsonl") == before[name]
        assert [checkpoint.step_of(path) for path in checkpoint.complete(run)] == [2, 1]
    assert len(list((runs["shape"] / "checkpoints").glob("damaged-step-*"))) == 2
    assert "restart_from_scratch = false" in (runs["shape"] / "recipe.toml").read_text()


def test_a_newest_checkpoint_of_another_shape_gives_way(folder):
    """If the newest checkpoint has valid JSON of another structure, it is set aside and the one before it is used."""
    runs = []
    for name, values in (("negative", {"step": -1}), ("beyond", {"step": 3}), ("keyless", {"tensors": 7})):
        run = Path(shutil.copytree(folder / "run", folder / name))
        rewrite_state(checkpoint.present(run)[0], **values)
        runs.append(run)
    (checkpoint.present(shutil.copytree(folder / "run", folder / "nomanifest"))[0] / "manifest.json").unlink()
    runs.append(folder / "nomanifest")
    assert outcomes([arguments(folder, run.name) for run in runs]) == [("", "passed")] * 4
    for run in runs:
        events, _ = read_lines(run / "events.jsonl")
        assert [line["step"] for line in events if line["kind"] == "broken_checkpoint"] == [2]
        assert [line["step"] for line in events if line["kind"] == "start"] == [0, 1]
        assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
            "damaged-step-00000002",
            "step-00000001",
            "step-00000002",
        ]


def test_identity_is_compared_by_content(folder):
    """A checkpoint of another recipe, and weights of another vocabulary, model or samples, are refused."""
    foreign = Path(shutil.copytree(folder / "run", folder / "foreign"))
    state = json.loads((checkpoint.present(foreign)[0] / "state.json").read_text())
    rewrite_state(checkpoint.present(foreign)[0], recipe=state["recipe"] | {"seed": 7})
    imported = Path(shutil.copytree(folder / "run", folder / "imported"))
    for path in checkpoint.present(imported):
        kept = {key: value for key, value in json.loads((path / "state.json").read_text()).items() if key != "recipe"}
        (path / "state.json").write_text(json.dumps(kept))
        rewrite_state(path)
    shutil.copytree(folder / "run", folder / "moved")
    init = ("--init_from", str(folder / "run"))
    found = outcomes(
        [
            arguments(folder, "foreign"),
            arguments(folder, "imported"),
            arguments(folder, "moved", samples="others"),
            arguments(folder, "vocabulary", *init, samples="renamed"),
            arguments(folder, "heads", *init, "--model.num_attention_heads", "4"),
            arguments(folder, "activation", *init, "--model.hidden_act", "gelu_new"),
            arguments(folder, "same", *init, samples="others"),
        ]
    )
    messages = [message for _, message in found]
    assert "step-00000002: was written by a run with another recipe (seed: 7 -> 12345)" in messages[0]
    assert "no checkpoint is sound" in messages[1]
    assert "was trained on other samples" in messages[2]
    assert "token 14 is 'w9' there and 'bread' here); build the samples with --vocab" in messages[3]
    assert "model.num_attention_heads = 4: init_from" in messages[4]
    assert "model.hidden_act = gelu_new: init_from" in messages[5]
    assert found[6] == ("", "passed")
    log = (folder / "same" / "logs" / "rank-00000.log").read_text()
    assert f", from {folder / 'run' / 'checkpoints' / 'step-00000002'}" in log


def test_a_finished_run_says_so_and_changes_nothing(folder):
    """Starting a finished run says so and changes nothing, even if some lines of its records cannot be read."""
    run = folder / "run"
    before = lines(run), lines(run, "events.jsonl")
    assert outcomes([arguments(folder, "run")]) == [("", "passed")]
    assert (lines(run), lines(run, "events.jsonl")) == before
    assert f"{run} has finished: all 2 steps are done; nothing to do" in (run / "logs" / "rank-00000.log").read_text()

    powerless = Path(shutil.copytree(run, folder / "powerless"))
    checkpoint.remove(checkpoint.present(powerless)[0])
    for name in ("metrics.jsonl", "events.jsonl"):
        with (powerless / name).open("a") as file:
            file.write(NULS + 'null\n{"kind": "train", "time": 5}\n')
    assert outcomes([arguments(folder, "powerless")]) == [("", "passed")]
    log = (powerless / "logs" / "rank-00000.log").read_text()
    assert "metrics.jsonl: 3 lines cannot be read" in log and "events.jsonl: 3 lines cannot be read" in log
    assert "records a checkpoint of step 2, which is gone; continuing at step 1" in log
    assert lines(powerless)[-1] != "null" and len(lines(powerless)) == len(before[0])


def test_about_is_what_a_run_writes(folder):
    """The keys of the made-up records in other tests are those of real checkpoints."""
    state = checkpoint.read_state(checkpoint.resolve(folder / "run"))
    assert ABOUT.keys() <= state.keys()


@pytest.mark.parametrize("theirs_is_muon", [False, True])
@pytest.mark.parametrize("ours_is_muon", [False, True])
def test_moments_of_another_optimizer(tmp_path, theirs_is_muon, ours_is_muon):
    """Muon starts from the first moment of LAMB; LAMB does not start from Muon, which has no second moment."""
    write_tokenizer(tmp_path / "tokenizer", 20)
    (tmp_path / "run").mkdir()
    events, config = Events(tmp_path / "run", total_steps=9, step=1), checkpoint.CheckpointConfig()
    shards = [make_shard(0, 1, muon=theirs_is_muon)]
    saver = Saver(tmp_path / "run", shards, tmp_path / "tokenizer", config, lambda: ABOUT, events)
    saver.begin(position(1))
    saver.finish()
    source = checkpoint.resolve(tmp_path / "run")
    for rank in range(3):
        expected, shard = (make_shard(rank, 3, muon=ours_is_muon) for _ in range(2))
        shard.state.clear()
        if theirs_is_muon and not ours_is_muon:
            message = "has no exp_avg_sq of a, which optimizer.name = lamb needs; set init_moments to false"
            with pytest.raises(ValueError, match=rf"^init_moments = true: init_from = .* {message}"):
                check_moments(source, [shard], "lamb")
            continue
        check_moments(source, [shard], "muon")
        checkpoint.load_shards(source, [shard])
        assert shard.state.keys() == expected.state.keys() and shard.state["step"] == 7
        for _, first, last, _ in shard.fragments:
            for part, values in shard.moments.items():
                assert torch.equal(values[first:last], expected.state[part][first:last])
