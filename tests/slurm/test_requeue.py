"""slurm/pretrain.sbatch requeues or ends by the exit status of the training, for which a short script stands in."""

import os
import socket
import time

import pytest
from clusters import wait_for

pytestmark = pytest.mark.slow

PYTHON = """#!/usr/bin/env bash
# Called as: python -m pipeline.pretrain --recipe FILE; the file is a shell script.
start=${SLURM_RESTART_COUNT:-0}
source "$4"
"""
OUTCOMES = {
    "finished": ("exit 0", "COMPLETED 0:0", 0),
    "saved twice": ("statuses=(75 75 0); exit ${statuses[start]}", "COMPLETED 0:0", 2),
    "user's error": ("exit 1", "FAILED 1:0", 0),
    "wrong command line": ("exit 2", "FAILED 2:0", 0),
    "program missing": ("exit 127", "FAILED 127:0", 0),
    "killed each time": ("kill -KILL $$", "FAILED 137:0", 2),
    "saves are not faults": ("statuses=(75 70 75 137 75 0); exit ${statuses[start]}", "COMPLETED 0:0", 5),
    "one rank is slower": (
        'touch "$4.start$start"; ((start)) && exit; sleep $((3 * SLURM_PROCID)); touch "$4.end$SLURM_PROCID"; exit 75',
        "COMPLETED 0:0",
        1,
    ),
    "one rank never ends": ("((start)) && exit 0; ((SLURM_PROCID)) && sleep 1000; exit 70", "COMPLETED 0:0", 1),
}
"""Script in place of the training, end of the job, and number of restarts, by name."""


@pytest.fixture(scope="module")
def submit(cluster, tmp_path_factory):
    """A function that submits pretrain.sbatch with a script in place of the training; returns the job's number and the
    script's file.
    """
    folder = tmp_path_factory.mktemp("stand-in")
    (folder / "bin").mkdir()
    (folder / "bin" / "activate").write_text(f"PATH={folder}/bin:$PATH\n")
    (folder / "bin" / "python").write_text(PYTHON)
    (folder / "bin" / "python").chmod(0o755)
    site = {"SITE_VENV": str(folder), "SITE_MAX_RESTARTS": "2", "SITE_PEER_SECONDS": "20"}

    def submit(name, text, *options):
        plan = folder / name.replace(" ", "-")
        plan.write_text(text)
        return cluster.submit(
            "--nodes=2", "--cpus-per-task=1", *options, "slurm/pretrain.sbatch", str(plan), **site
        ), plan

    return submit


@pytest.fixture(scope="module")
def jobs(cluster, submit):
    """All of OUTCOMES side by side, each with a job behind it that depends on its success."""
    submitted = {name: submit(name, text) for name, (text, _, _) in OUTCOMES.items()}
    for number, _ in submitted.values():
        after = [f"--dependency=afterok:{number}", "--kill-on-invalid-dep=yes"]
        cluster.submit(*after, "--wrap", "true", f"--job-name=after-{number}")
    return submitted


@pytest.mark.parametrize("name", OUTCOMES)
def test_exit_status_decides(cluster, jobs, name):
    """State, number of restarts and the fate of the dependent job follow from the exit status."""
    _, outcome, restarts = OUTCOMES[name]
    number, plan = jobs[name]
    job = cluster.wait(number)
    assert f"{job['JobState']} {job['ExitCode']}" == outcome, cluster.log(number)
    assert int(job["Restarts"]) == restarts, cluster.log(number)
    if name == "one rank is slower":
        assert {path.suffix for path in plan.parent.glob(f"{plan.name}.*")} == {".start0", ".end0", ".end1", ".start1"}
    queue = cluster.run("squeue", "-h", "-t", "all", "-n", f"after-{number}", "-o", "%i").stdout.split()
    after = cluster.wait(queue[0])
    assert after["JobState"] == ("COMPLETED" if outcome.startswith("COMPLETED") else "CANCELLED")
    assert after["StartTime"] >= job["EndTime"] or after["JobState"] == "CANCELLED"


UP_TO_SIGNAL = (
    'trap "sleep 2; exit 75" USR1 TERM; ((start)) && exit 0; touch "$4.$SLURM_PROCID"; while :; do sleep 0.1; done'
)


@pytest.fixture
def running(cluster, submit, request):
    """A job that runs until it is asked to stop, and finishes after its restart."""
    number, plan = submit(request.node.name.strip("]").replace("[", "-"), UP_TO_SIGNAL)
    wait_for(lambda: len(list(plan.parent.glob(f"{plan.name}.[01]"))) == 2, 60)
    return number


@pytest.mark.parametrize("options", [["--batch"], [], ["--full"]], ids=["batch shell", "tasks", "both"])
def test_told_to_save_it_goes_on_later(cluster, running, options):
    """A job that is asked to save continues later, whether the signal reaches the shell, the tasks, or both."""
    cluster.run("scancel", "--signal=USR1", *options, running)
    job = cluster.wait(running)
    assert job["JobState"] == "COMPLETED" and job["Restarts"] == "1", cluster.log(running)
    assert f"saved: job {running} goes back into the queue (restart 1)" in cluster.log(running)


def test_a_user_who_cancels_is_obeyed(cluster, running):
    """If a user cancels the job, the training saves within Slurm's KillWait, and the job is not requeued."""
    cluster.run("scancel", running)
    wait_for(lambda: "it is left alone" in cluster.log(running), 30)
    time.sleep(8)  # a requeued job would be pending or running by now
    job = cluster.job(running)
    assert job["JobState"] == "CANCELLED" and job["Restarts"] == "0", cluster.log(running)


def test_a_signal_during_the_start_is_not_lost(cluster, submit):
    """A signal at any of 12 moments of the start requeues the job; a training that does not handle it
    yet ends by it.
    """
    started = [submit(f"early{n}", '((start)) && exit 0; touch "$4.up"; sleep 1000') for n in range(12)]
    for delay, (number, _) in enumerate(started):
        wait_for(lambda number=number: cluster.job(number)["JobState"] == "RUNNING", 60)
        wait_for(lambda number=number: os.path.exists(f"{cluster.folder}/{number}.log"), 60)
        time.sleep(0.02 * delay)
        cluster.run("scancel", "--signal=USR1", "--batch", number)
    for number, _ in started:
        job = cluster.wait(number)
        assert job["JobState"] == "COMPLETED" and int(job["Restarts"]) == 1, f"{job}\n{cluster.log(number)}"


def test_only_the_task_of_an_array_that_saved_starts_again(cluster, submit):
    """Only the task that saved starts again, even if it is the last task, which has the number of the whole array."""
    text = "((SLURM_ARRAY_TASK_ID == 2 && !start)) && exit 75; exit 0"
    number, _ = submit("array", text, "--array=1-2")
    ended = {task: cluster.wait(f"{number}_{task}") for task in (1, 2)}
    assert {task: (job["JobState"], job["Restarts"]) for task, job in ended.items()} == {
        1: ("COMPLETED", "0"),
        2: ("COMPLETED", "1"),
    }


def test_a_port_in_use_is_left_out(cluster, submit):
    """A job whose port belongs to another program uses the next one, on every rank."""
    number, plan = submit("port in use", 'echo "$MASTER_PORT" >"$4.port$SLURM_PROCID"', "--hold")
    port = 20000 + int(number) % 10000
    with socket.create_server(("", port)):
        cluster.run("scontrol", "release", number)
        assert cluster.wait(number)["JobState"] == "COMPLETED", cluster.log(number)
    found = {int(path.read_text()) for path in plan.parent.glob(f"{plan.name}.port*")}
    assert len(found) == 1 and min(found) > port, found
