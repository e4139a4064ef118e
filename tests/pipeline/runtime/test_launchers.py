"""The launcher of a rank is found among its ancestors, and the rank ends after it."""

import signal
import subprocess
import sys
import textwrap

import pytest
from ranks import ROOT

from pipeline.runtime.launchers import launchers

PYTHON = "/venv/bin/python"
LOGIN = [["-bash"], ["sshd:", "root@pts/0"], ["/usr/sbin/sshd", "-D"], ["/sbin/init"]]
LAUNCH = [PYTHON, "-u", "-m", "deepspeed.launcher.launch", "--world_info=e30", "--module", "pipeline.pretrain"]

CHAINS = {
    "nothing but a shell": (LOGIN, []),
    "a script of the user": ([[PYTHON, "sweep.py"], *LOGIN], []),
    "deepspeed": ([LAUNCH, [PYTHON, "/venv/bin/deepspeed", "--module", "pipeline.pretrain"], *LOGIN], [0, 1]),
    "deepspeed as a module": ([LAUNCH, [PYTHON, "-m", "deepspeed.launcher.runner", "--num_gpus"], *LOGIN], [0, 1]),
    "deepspeed over ssh": ([LAUNCH, ["bash", "-c", "cd /work; ..."], ["sshd:", "root@notty"], LOGIN[2]], [0, 1, 2]),
    "deepspeed over ssh without a shell": ([LAUNCH, ["sshd: root@notty", "", ""], LOGIN[2]], [0, 1]),
    "deepspeed over a newer ssh": ([LAUNCH, ["bash", "-c", "..."], ["sshd-session:", "root@notty"]], [0, 1, 2]),
    "deepspeed that has died already": ([LAUNCH, ["/sbin/init"]], [0]),
    "torchrun": ([[PYTHON, "/venv/bin/torchrun", "--nproc_per_node", "2"], *LOGIN], [0]),
    "torchrun as a module": ([[PYTHON, "-m", "torch.distributed.run", "--nproc_per_node"], *LOGIN], [0]),
    "mpirun": ([["/usr/bin/mpirun", "-n", "2", PYTHON], *LOGIN], [0]),
    "mpirun on another host": ([["/usr/bin/prted", "--prtemca", "ess"], ["bash", "-c", "..."], LOGIN[1]], [0]),
    "srun": ([["slurmstepd:", "[41.0]"], ["/sbin/init"]], [0]),
    "a program in a folder called torchrun": ([["/home/torchrun/start"], *LOGIN], []),
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_launcher_is_found_among_the_ancestors(name):
    """The launcher is found among the ancestors of a rank; the login shell, which a run may outlive, is
    not part of it.
    """
    ancestors, expected = CHAINS[name]
    assert launchers(ancestors) == expected


RANK = """
import signal, sys
from pipeline.runtime.launchers import following_launcher

signal.signal(signal.SIGTERM, lambda *_: sys.exit("heard"))
with following_launcher():
    print("following", flush=True)
    while True:
        signal.pause()
"""


def test_a_rank_is_told_when_its_launcher_is_killed(tmp_path):
    """A rank ends after its launcher was killed by SIGKILL, which the launcher cannot forward."""
    torchrun = tmp_path / "torchrun"
    torchrun.write_text(
        textwrap.dedent("""
        import subprocess, sys
        subprocess.run([sys.executable, "-c", sys.argv[1]])
        """)
    )
    command = [sys.executable, str(torchrun), RANK]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    launcher = subprocess.Popen(command, cwd=ROOT, **pipes)
    assert launcher.stdout.readline() == "following\n"
    launcher.send_signal(signal.SIGKILL)
    said = launcher.stderr.read()  # until the rank has ended as well
    launcher.wait()
    assert said == f"the launcher, process {launcher.pid}, has ended; the run saves and ends\nheard\n"
