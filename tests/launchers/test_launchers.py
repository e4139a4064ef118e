"""Training is the same under every launcher: one process, torchrun, and deepspeed over ssh by pdsh and by Open MPI."""

import json
import os
import signal
import sys

import pytest
from clusters import PATIENCE, wait_for
from hosts import HOSTS, Hosts, missing
from ports import free_port
from recipes import curve, write_recipe
from samples import make_samples

from pipeline.checkpoints.checkpoint import resolve, step_of

pytestmark = pytest.mark.slow

TRAIN = ["--module", "pipeline.pretrain", "--recipe"]
FP32 = ["--engine.precision", "fp32"]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """Yield two hosts; end them and all that runs on them afterwards."""
    if lacking := missing():
        pytest.skip(f"no ssh hosts here: {', '.join(lacking)} missing; Debian: openssh-server, openssh-client, pdsh")
    made = Hosts(tmp_path_factory.mktemp("ssh"))
    try:
        made.start()
        (made.folder / "hosts").write_text("".join(f"{host} slots=1\n" for host in HOSTS))
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples")


def command(hosts, launcher, recipe, *options):
    """Return the command line of a launcher, and write the file of variables that deepspeed passes to its processes."""
    port = str(free_port())
    settings = ["DS_ACCELERATOR=cpu", "OMP_NUM_THREADS=1", f"PATH={hosts.environment['PATH']}"]
    if launcher == "openmpi":  # which does not tell them
        settings.append(f"MASTER_ADDR={HOSTS[0]}")
    (hosts.folder / "deepspeed_env").write_text("".join(f"{line}\n" for line in settings))
    hostfile = ["--hostfile", str(hosts.folder / "hosts"), "--master_addr", HOSTS[0], "--master_port", port]
    train = [str(recipe), *FP32, *options]
    torchrun = ["torchrun", "--nproc_per_node", "2", "--master_port", port, "-m", "pipeline.pretrain", "--recipe"]
    as_root = "--launcher_args=--allow-run-as-root"
    single = [sys.executable, "-m", "pipeline.pretrain", "--recipe"]
    return {
        "single": [*single, *train],
        "torchrun": [*torchrun, *train],
        "deepspeed": ["deepspeed", "--num_gpus", "2", "--master_port", port, *TRAIN, *train],
        "mpirun": ["mpirun", "--oversubscribe", "--allow-run-as-root", "-n", "2", *single, *train],
        "pdsh": ["deepspeed", *hostfile, *TRAIN, *train],
        "openmpi": ["deepspeed", *hostfile, "--launcher", "openmpi", as_root, *TRAIN, *train],
    }[launcher]


def trained(hosts, launcher, recipe, *options):
    """Return the curve of a run by a launcher."""
    run = hosts.launch(*command(hosts, launcher, recipe, *options))
    assert run.wait(120 * PATIENCE) == 0, hosts.said()
    return curve(recipe.with_suffix(""))


@pytest.fixture(scope="module")
def expected(hosts, samples, tmp_path_factory):
    """The curve of two ranks under torchrun."""
    return trained(hosts, "torchrun", write_recipe(tmp_path_factory.mktemp("torchrun"), samples))


@pytest.mark.parametrize("launcher", ["single", "pdsh", "openmpi"])
def test_every_launcher_trains_the_same(hosts, samples, expected, tmp_path, launcher):
    """Two hosts with a rank each give the curve of two ranks on one host bit for bit, and that of one process to
    rounding.
    """
    found = trained(hosts, launcher, write_recipe(tmp_path, samples))
    assert len(expected) == 8
    if launcher == "single":
        assert found == pytest.approx(expected, rel=1e-6)
    else:
        assert found == expected
        assert "2 x cpu, global batch 24 = 2 x 4 x 3" in hosts.said()
    assert not hosts.processes("pipeline.pretrain")


@pytest.mark.parametrize("launcher", ["pdsh", "openmpi"])
def test_a_rank_that_dies_ends_the_run_on_all_hosts(hosts, samples, tmp_path, launcher):
    """If a rank on the second host is killed, the launcher ends within a minute with an error, and no
    process is left.
    """
    recipe = write_recipe(tmp_path, samples)
    run = hosts.launch(*command(hosts, launcher, recipe, "--schedule.total_steps", "100000"))
    metrics = tmp_path / "run" / "metrics.jsonl"
    wait_for(lambda: run.poll() is not None or (metrics.exists() and metrics.stat().st_size > 1000), 90, hosts.said)
    ranks = hosts.processes("pipeline.pretrain", "--recipe", host=HOSTS[1])
    os.kill(ranks[-1], signal.SIGKILL)
    wait_for(lambda: run.poll() is not None, 60, hosts.said)
    assert run.returncode != 0
    wait_for(lambda: not hosts.processes("pipeline.pretrain"), 10, hosts.said)


def begin(hosts, launcher, folder, samples):
    """Start a run that does not end by itself, and wait until it trains; return the process and the run's directory."""
    recipe = write_recipe(folder, samples)
    run = hosts.launch(*command(hosts, launcher, recipe, "--schedule.total_steps", "100000"))
    metrics = folder / "run" / "metrics.jsonl"
    wait_for(lambda: run.poll() is not None or (metrics.exists() and metrics.stat().st_size > 1000), 240, hosts.said)
    assert run.poll() is None, hosts.said()
    return run, folder / "run"


def assert_saved(hosts, run):
    """Assert that all ranks have ended, and that the newest checkpoint is of the step at which they did."""
    wait_for(lambda: not hosts.processes("pipeline.pretrain", "--recipe"), 60, hosts.said)
    beat = json.loads((run / "heartbeat.json").read_text())
    assert beat["state"] == "interrupted" and step_of(resolve(run)) == beat["step"] > 0, beat


@pytest.mark.parametrize("launcher", ["deepspeed", "torchrun", "pdsh"])
def test_ranks_save_and_end_when_their_launcher_is_killed(hosts, samples, tmp_path, launcher):
    """The ranks of a killed launcher save and end, instead of training on without it."""
    launched, run = begin(hosts, launcher, tmp_path, samples)
    if launcher == "pdsh":  # as when the machine is lost that all was started from: the connections end
        for pid in hosts.processes("-oConnectTimeout", host="launcher"):
            os.kill(pid, signal.SIGKILL)
    else:  # deepspeed passes SIGTERM on to nobody
        os.kill(launched.pid, signal.SIGTERM if launcher == "deepspeed" else signal.SIGKILL)
    launched.wait(60 * PATIENCE)
    assert_saved(hosts, run)


STATUSES = {"deepspeed": 75, "mpirun": 75, "torchrun": 1}
"""Status with which each launcher ends after status 75 of a rank, as docs/operations.md states."""


@pytest.mark.parametrize("launcher", STATUSES)
def test_a_launcher_ends_with_the_documented_status_after_a_save(hosts, samples, tmp_path, launcher):
    """After one rank was asked to stop, a launcher ends with the documented status; heartbeat.json shows
    the run's own.
    """
    launched, run = begin(hosts, launcher, tmp_path, samples)
    beat = json.loads((run / "heartbeat.json").read_text())
    os.kill(beat["pid"], signal.SIGTERM)
    assert launched.wait(90 * PATIENCE) == STATUSES[launcher], hosts.said()
    assert_saved(hosts, run)


@pytest.mark.parametrize(("launcher", "status"), [("deepspeed", 2), ("mpirun", 2), ("torchrun", 1)])
def test_a_wrong_option_is_told_once_under_every_launcher(hosts, samples, tmp_path, launcher, status):
    """Whichever rank ends first, an error of usage is printed once under every launcher, and before the
    launcher ends.
    """
    launched = hosts.launch(*command(hosts, launcher, write_recipe(tmp_path, samples), "--nonsense", "1"))
    assert launched.wait(120 * PATIENCE) == status, hosts.said()
    assert hosts.said().count("error: unknown option --nonsense") == 1, hosts.said()
