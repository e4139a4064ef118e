"""Whatever happens to a rank, all ranks end in bounded time, and a new start completes the undisturbed run (law 5)."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import psutil
import pytest
from attempts import SECONDS_TO_END, Attempt, assert_same, finished
from family_runs import prepared
from samples import make_samples

from pipeline.checkpoints import checkpoint
from pipeline.runtime import faults
from preprocessing.shards import SampleDataset

FAULT, INTERRUPTED, KILLED = 70, 75, -signal.SIGKILL


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples", train=257)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, samples):
    """The undisturbed run."""
    return finished(tmp_path_factory.mktemp("whole") / "run", samples)


def kill_at(point, rank, nth, run, samples, *options):
    """Start a run that loses a rank at a point of `faults`, and assert that the other rank ends by itself."""
    attempt = Attempt(run, samples, *options, PIPELINE_FAULT=f"kill:{point}:{rank}:{nth}")
    codes = attempt.end()
    assert codes[rank] == KILLED, attempt.output()
    assert codes[1 - rank] == FAULT, attempt.output()
    return attempt


def test_a_rank_killed_while_it_writes_a_checkpoint_costs_that_checkpoint_only(tmp_path, samples, whole):
    """A rank that is killed while it writes the checkpoint of step 4 costs that checkpoint only; the run ends as the
    undisturbed one.
    """
    attempt = kill_at("tensors written", 1, 2, tmp_path / "run", samples)
    assert [checkpoint.step_of(path) for path in checkpoint.complete(attempt.run)] == [2]
    again = finished(attempt.run, samples)
    assert [line["from"] is None for line in again.lines("events.jsonl", kind="start")] == [True, False]
    assert not list((attempt.run / "checkpoints").glob(".*")), "what the killed run left is still there"
    assert_same(again, whole)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("point", [point for point in faults.POINTS if point != "starting"])
def test_a_rank_killed_anywhere_costs_no_more_than_the_steps_since_the_last_checkpoint(
    tmp_path, samples, whole, point, rank
):
    """After SIGKILL at any point of `faults` on either rank, a new start ends as the undisturbed run.

    The start of DeepSpeed's process groups is left out: there the other rank waits until its launcher or the watchdog
    ends it.
    """
    if rank and point in {"metrics trimmed", *faults.POINTS[faults.POINTS.index("state written") :]}:
        pytest.skip("only rank 0 comes there")
    nth = {"metrics trimmed": 1, "step begun": 6, "gradients added up": 6, "step done": 6}.get(point, 2)
    attempt = kill_at(point, rank, nth, tmp_path / "run", samples)
    if point == "step done":  # step 6 is done, and not yet to be saved
        assert checkpoint.step_of(checkpoint.resolve(attempt.run)) == 4
    assert_same(finished(attempt.run, samples), whole)


@pytest.mark.slow
@pytest.mark.parametrize(("point", "nth"), [("step done", 6), ("tensors written", 2)])
@pytest.mark.parametrize("family", ["distilbert", "electra"])
def test_a_family_with_a_teacher_or_parts_survives_a_killed_rank(tmp_path, family, point, nth):
    """After SIGKILL between steps or within a checkpoint, a student with a teacher, and a generator and an encoder with
    shared embeddings, end as the undisturbed run.
    """
    samples, options = prepared(tmp_path, family, train=257)
    whole = finished(tmp_path / "whole", samples, *options)
    attempt = kill_at(point, 1, nth, tmp_path / "run", samples, *options)
    again = finished(attempt.run, samples, *options)
    assert [line["from"] is None for line in again.lines("events.jsonl", kind="start")] == [True, False]
    assert_same(again, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)])
def test_a_request_to_stop_reaches_all_ranks_and_loses_nothing(tmp_path, samples, whole, number):
    """If one rank is asked to stop in step 5, both save and end with status 75, and the next start continues from
    there.
    """
    name = signal.Signals(number).name
    attempt = Attempt(tmp_path / "run", samples, "--checkpoint.every", "100", PIPELINE_FAULT=f"{name}:step begun:1:5")
    assert attempt.end() == [INTERRUPTED, INTERRUPTED], attempt.output()
    (event,) = attempt.lines("events.jsonl", kind="interrupted")
    step = checkpoint.step_of(checkpoint.resolve(attempt.run))
    assert event["signal"] == name and event["step"] == step == 5
    again = finished(attempt.run, samples)
    assert [line["step"] for line in again.lines("events.jsonl", kind="start")] == [0, step]
    assert_same(again, whole)


LAST = 8
"""Step at which a run of this file ends. At steps 0, 4 and 8 each rank asks for 3 held-out batches, of which the last
is none, and for as many of the intact and of the shuffled samples of the order gap: 9 requests."""


@pytest.mark.parametrize(
    ("nth", "step"), [(25, LAST), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((2, None), (11, 4)))]
)
def test_a_request_to_stop_is_heard_during_an_evaluation(tmp_path, samples, whole, nth, step):
    """A request to stop during an evaluation makes both ranks save at once; the evaluation is repeated, and the run
    ends as the undisturbed one.
    """
    attempt = Attempt(tmp_path / "run", samples, PIPELINE_FAULT=f"SIGTERM:held-out batch:1:{nth}")
    assert attempt.end() == [INTERRUPTED, INTERRUPTED], attempt.output()
    found = [checkpoint.step_of(path) for path in checkpoint.complete(attempt.run)]
    assert found[:1] == ([] if step is None else [step])
    evaluated = [line["step"] for line in attempt.lines("metrics.jsonl", kind="heldout")]
    assert evaluated == {None: [], 4: [0], LAST: [0, 4]}[step]
    again = finished(attempt.run, samples)
    assert_same(again, whole)
    figures = [checkpoint.read_state(checkpoint.resolve(run))["metrics"]["heldout"] for run in (again.run, whole.run)]
    assert figures[0] == figures[1], "the last checkpoint holds another evaluation"


def test_a_request_to_stop_is_heard_before_training(tmp_path, samples, whole):
    """A request to stop before training saves nothing, and has the status and event of any interrupted run."""
    attempt = Attempt(tmp_path / "run", samples, PIPELINE_FAULT="SIGTERM:starting:1:1")
    assert attempt.end() == [INTERRUPTED, INTERRUPTED], attempt.output()
    assert not attempt.lines("metrics.jsonl") and attempt.lines("events.jsonl", kind="interrupted", signal="SIGTERM")


def test_held_out_samples_that_one_rank_cannot_read_end_all_ranks(tmp_path, samples):
    """If one rank cannot read held-out samples, all ranks end with status 1 and one message, without a hang."""
    attempt = Attempt(tmp_path / "run", samples, PIPELINE_FAULT="full:held-out batch:1:2")
    assert attempt.end() == [1, 1], attempt.output()
    assert attempt.output().count("error: ") == 1 and "held-out batch" in attempt.output()


@pytest.mark.slow
def test_a_rank_that_hangs_is_found_and_every_rank_says_where_it_stood(tmp_path, samples, whole):
    """The watchdog ends both ranks after one hangs, and the stack of each rank is in its log."""
    options = ["--engine.timeout_minutes", "0.5"]
    attempt = Attempt(tmp_path / "run", samples, *options, PIPELINE_FAULT="hang:step begun:1:6")
    assert attempt.end() == [FAULT, FAULT], attempt.output()
    logs = [(attempt.run / "logs" / f"rank-0000{rank}.log").read_text() for rank in (0, 1)]
    assert "in reach" in logs[1], "the rank that hangs"
    assert "in train_step" in logs[0] and "in reach" not in logs[0], "the one that waits for it"
    assert_same(finished(attempt.run, samples), whole)


@pytest.mark.slow
def test_a_rank_that_is_stopped_does_not_hold_up_the_other_for_ever(tmp_path, samples):
    """If a rank is stopped together with its watchdog, the other rank ends, so that the launcher can clean up."""
    attempt = Attempt(tmp_path / "run", samples, "--engine.timeout_minutes", "0.5", total_steps=10_000)
    attempt.wait_until(lambda: attempt.lines("metrics.jsonl", kind="train"))
    attempt.signal(signal.SIGSTOP, 1)
    attempt.processes[0].join(SECONDS_TO_END)
    assert attempt.processes[0].exitcode == FAULT
    assert attempt.end(0) == [FAULT, None]


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system with the given options; skip the test where that is not allowed."""
    mounted = tmp_path / "disk"
    mounted.mkdir()

    def mount(options):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mounted], capture_output=True).returncode:
            pytest.skip("this user may not mount")
        return mounted

    yield mount
    subprocess.run(["umount", "-l", mounted], capture_output=True)


def test_a_full_disk_ends_the_run_with_its_last_checkpoint_whole(samples, whole, small_disk):
    """On a full disk both ranks end with status 1 and one message, and with more space the run finishes."""
    disk = small_disk("size=1100k")
    attempt = Attempt(disk / "run", samples, "--checkpoint.keep", "9")
    assert attempt.end() == [1, 1], attempt.output()
    assert "No space left on device" in attempt.output() and "Traceback" not in attempt.output()
    steps = [checkpoint.step_of(path) for path in checkpoint.complete(attempt.run)]
    assert steps and steps[0] < 8
    assert not list((attempt.run / "checkpoints").glob(".*")), "half-written files stay"
    subprocess.run(["mount", "-o", "remount,size=9m", disk], check=True)
    assert_same(finished(attempt.run, samples), whole)


@pytest.mark.slow
def test_a_read_only_directory_is_one_error(samples, small_disk):
    """In a read-only directory training does not start, and there is one error."""
    disk = small_disk("size=1m,ro")
    attempt = Attempt(disk.parent / "run", samples, "--run_dir", str(disk / "run"))
    assert attempt.end() == [1, 1], attempt.output()
    assert attempt.output().count("Read-only file system") == 1


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_shard_cut_while_it_is_read_ends_all_ranks(tmp_path, samples, num_workers):
    """A shard that is truncated while it is read ends both ranks with status 1, and the message names the shard, or the
    samples if a worker died.
    """
    copy = shutil.copytree(samples, tmp_path / "samples")
    fault = "SIGSTOP:step begun:*:5"  # No rank reads while the shard is cut.
    attempt = Attempt(tmp_path / "run", copy, total_steps=10_000, num_workers=num_workers, PIPELINE_FAULT=fault)
    ranks = [psutil.Process(process.pid) for process in attempt.processes]
    attempt.wait_until(lambda: all(rank.status() == psutil.STATUS_STOPPED for rank in ranks))
    os.truncate(copy / "train-00000.arrow", 4096)
    for rank in ranks:
        rank.resume()
    assert attempt.end() == [1, 1], attempt.output()
    told = [f"{copy / 'train-00000.arrow'}: has 4096 bytes, ", f"{copy}: a process that reads it died"]
    assert any(text in attempt.output() for text in told[: 1 + num_workers]), attempt.output()


@pytest.mark.slow
def test_a_token_that_is_no_word_ends_all_ranks(tmp_path, samples):
    """A token that becomes invalid after verification ends all ranks with an error that names the samples."""
    copy = shutil.copytree(samples, tmp_path / "samples")
    attempt = Attempt(tmp_path / "run", copy, total_steps=10_000)
    attempt.wait_until(lambda: attempt.lines("metrics.jsonl", kind="train"))
    shard = copy / "train-00000.arrow"
    first = SampleDataset.open(samples, "train").tokens(np.array([0]))[0].tobytes()
    with shard.open("r+b") as file:
        file.seek(shard.read_bytes().index(first))
        file.write(b"\xff" * 2)
    assert attempt.end() == [1, 1], attempt.output()
    assert "the shard was damaged after it was verified" in attempt.output()


def test_a_broken_checkpoint_gives_way_to_the_one_before_it(tmp_path, samples, whole):
    """A broken checkpoint is reported on the terminal and in the events; the run continues from the one before and ends
    as the undisturbed one.
    """
    run = shutil.copytree(whole.run, tmp_path / "run")
    newest = checkpoint.resolve(run) / "rank-00001.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    again = finished(run, samples)
    assert f"warning: {newest}: sha256 differs" in again.output()
    (event,) = again.lines("events.jsonl", kind="broken_checkpoint")
    assert event["step"] == 8 and str(newest) in event["reason"]
    assert_same(again, whole)


@pytest.mark.slow
def test_only_broken_checkpoints_are_an_error(tmp_path, samples, whole):
    """A run never starts from the beginning unless the user requests it."""
    run = shutil.copytree(whole.run, tmp_path / "run")
    for path in checkpoint.complete(run):
        (path / "state.json").unlink()
    attempt = Attempt(run, samples)
    assert attempt.end() == [1, 1]
    assert f"{run}: no checkpoint is sound" in attempt.output()


def test_a_run_has_one_owner(tmp_path, samples):
    """A second start of a run that is at work is refused; ports are bound to the job's own addresses, and no secret is
    logged.
    """
    attempt = Attempt(tmp_path / "run", samples, total_steps=10_000, num_workers=1, WANDB_API_KEY="not-for-logs")
    attempt.wait_until(lambda: attempt.lines("metrics.jsonl", kind="train"))
    second = Attempt(tmp_path / "run", samples, total_steps=10_000)
    assert second.end() == [1, 1]
    assert "another run works here" in second.output()
    listening = [
        connection.laddr.ip
        for process in attempt.processes
        for connection in psutil.Process(process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening and set(listening) <= {"127.0.0.1", "::1"}, listening
    workers = [child for process in attempt.processes for child in psutil.Process(process.pid).children()]
    assert len(workers) == 2
    assert attempt.end(0) == [None, None]
    assert psutil.wait_procs(workers, timeout=SECONDS_TO_END)[1] == [], "a killed rank leaves its workers behind"
    written = [path for path in Path(tmp_path).rglob("*") if path.is_file()]
    assert not any(b"not-for-logs" in path.read_bytes() for path in written)
