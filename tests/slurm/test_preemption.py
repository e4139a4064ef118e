"""A training that is stopped, cut off or killed resumes by itself and ends as the undisturbed run."""

import os
import signal
from pathlib import Path

import pytest
import torch
from clusters import wait_for
from recipes import curve, tensors, write_recipe
from samples import make_samples

pytestmark = pytest.mark.slow

STEPS = 200
OPTIONS = ["--schedule.total_steps", str(STEPS), "--checkpoint.every", "30", "--evaluation.every", "60"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples")


def submit(cluster, recipe, *options):
    """Submit a training on two nodes of one rank each."""
    return cluster.submit("--nodes=2", *options, "slurm/pretrain.sbatch", str(recipe), *OPTIONS)


def steps(recipe):
    """Return the number of steps that a run has logged so far."""
    run = recipe.with_suffix("")
    return len(curve(run)) if (run / "metrics.jsonl").exists() else 0


@pytest.fixture(scope="module")
def undisturbed(cluster, samples, tmp_path_factory):
    """Weights, moments and curve of the undisturbed run."""
    recipe = write_recipe(tmp_path_factory.mktemp("undisturbed"), samples)
    number = submit(cluster, recipe)
    assert cluster.wait(number)["JobState"] == "COMPLETED", cluster.log(number)
    return tensors(recipe.with_suffix(""), STEPS), curve(recipe.with_suffix(""))


@pytest.fixture
def training(cluster, samples, tmp_path):
    """A run of the same recipe after 40 steps, of which its first checkpoint does not hold all."""
    recipe = write_recipe(tmp_path, samples)
    number = submit(cluster, recipe, "--time=60", "--signal=B:USR1@5")
    wait_for(lambda: steps(recipe) >= 40, 120, lambda: cluster.log(number))
    assert cluster.job(number)["JobState"] == "RUNNING"
    return recipe, number


def ranks(cluster, number, rank):
    """Return the processes of a rank; srun, which has the batch shell's variables and no step's, is not among them."""
    return cluster.processes("pipeline.pretrain", SLURM_JOB_ID=number, SLURM_STEP_ID="0", SLURM_PROCID=str(rank))


def assert_ends_alike(cluster, number, recipe, undisturbed):
    """Assert that the job finishes by itself after one restart with the weights, moments and curve of the undisturbed
    run.
    """
    job = cluster.wait(number, 200)
    assert job["JobState"] == "COMPLETED" and job["Restarts"] == "1", cluster.log(number)
    expected, losses = undisturbed
    found = tensors(recipe.with_suffix(""), STEPS)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert curve(recipe.with_suffix("")) == losses


def test_told_to_save(cluster, training, undisturbed):
    """After SIGUSR1 to the tasks, all ranks save and exit with 75, and no fault is counted."""
    recipe, number = training
    cluster.run("scancel", "--signal=USR1", number)
    assert_ends_alike(cluster, number, recipe, undisturbed)
    assert f"saved: job {number} goes back into the queue" in cluster.log(number)
    assert cluster.job(number).get("Comment") is None


def test_time_limit(cluster, training, undisturbed):
    """Slurm's own signal before the time limit saves the run. The ranks are stopped until the signal is pending, so
    that they are in training when it arrives.
    """
    recipe, number = training
    _, minutes, seconds = map(int, cluster.job(number)["RunTime"].split(":"))
    cluster.run("scontrol", "update", f"JobId={number}", f"TimeLimit={minutes + 1 + (seconds > 25)}")
    pids = [pid for rank in (0, 1) for pid in ranks(cluster, number, rank)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: all(pending(pid, signal.SIGUSR1) for pid in pids), 120, lambda: cluster.log(number))
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    cluster.run("scontrol", "update", f"JobId={number}", "TimeLimit=60")  # the rest may take its time
    assert_ends_alike(cluster, number, recipe, undisturbed)
    assert f"saved: job {number} goes back into the queue" in cluster.log(number)


def pending(pid, number):
    """Return whether a signal is pending for a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return any(int(line.split()[1], 16) >> (number - 1) & 1 for line in lines if line.startswith("ShdPnd"))


def test_a_killed_rank(cluster, training, undisturbed):
    """After SIGKILL of the second rank, the step ends, one fault is counted, and the newest checkpoint is continued."""
    recipe, number = training
    os.kill(ranks(cluster, number, 1)[0], signal.SIGKILL)
    assert_ends_alike(cluster, number, recipe, undisturbed)
    assert cluster.job(number)["Comment"] == "faults:1"


def test_a_node_that_fails(cluster, training, undisturbed):
    """After SIGKILL of all processes on the second node, its daemon included, Slurm requeues the job, which waits for
    the node.
    """
    recipe, number = training
    daemon, rank = cluster.processes("slurmd", "node2")[0], ranks(cluster, number, 1)[0]
    shepherd = int(Path(f"/proc/{rank}/stat").read_text().rpartition(")")[2].split()[1])
    for pid in (daemon, shepherd, rank):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: cluster.job(number)["JobState"] == "PENDING", 120, lambda: cluster.log(number))
    cluster.start_node("node2")
    assert_ends_alike(cluster, number, recipe, undisturbed)
