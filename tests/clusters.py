"""A real Slurm cluster of two nodes on this machine: munge, controller and two slurmd below one folder."""

import getpass
import os
import platform
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ports import free_ports

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
NODES = ("node1", "node2")
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE", "PREEMPTED"}
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A requeued job waits until its old credential has expired, two minutes by default.
AuthInfo=socket={folder}/munge,cred_expire=10
CredType=cred/munge
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
# PMIx makes a directory of a fixed name for each step, which the nodes of one machine must not share.
TmpFS={folder}/tmp-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MinJobAge=3600
ReturnToService=2
SlurmdTimeout=30
SlurmdParameters=config_overrides
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8
PartitionName=test Nodes=node1,node2 Default=YES MaxTime=INFINITE
"""


def missing() -> list[str]:
    """Return the programs for a cluster that are missing on this machine."""
    return [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]


PATIENCE = 4.0
"""Factor by which waits may be longer than on a quiet machine."""


def wait_for(condition: Callable[[], object], seconds: float, what: Callable[[], str] = str) -> None:
    """Wait for `condition`, PATIENCE times as many seconds as a quiet machine needs; then fail with the text `what`."""
    end = time.monotonic() + PATIENCE * seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what()}"
        time.sleep(0.2)


class Cluster:
    """The daemons of a cluster, and the commands that tests give it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[subprocess.Popen] = []
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "SITE_VENV": sys.prefix,
            "DS_ACCELERATOR": "cpu",
            "OMP_NUM_THREADS": "1",
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        }

    def start(self) -> None:
        """Start the daemons and wait until both nodes are idle."""
        for name in ("state", "logs", *NODES, *(f"tmp-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        host = platform.node().split(".")[0]
        text = CONFIGURATION.format(host=host, user=getpass.getuser(), folder=self.folder, ports=free_ports(3))
        (self.folder / "slurm.conf").write_text(text)
        # Nothing here uses cgroups, but slurmd loads a plugin of them; before 23 there was none that does nothing.
        version = int(re.findall(r"\d+", self.run("slurmd", "-V").stdout)[0])
        (self.folder / "cgroup.conf").write_text(f"CgroupPlugin={'disabled' if version >= 23 else 'cgroup/v1'}\n")
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        places = {"key-file": "munge.key", "socket": "munge", "pid-file": "munge.pid", "seed-file": "munge.seed"}
        # --force: it distrusts folders that others may write to, such as the one for temporary files.
        self._daemon("munged", "-F", "--force", *(f"--{name}={self.folder / place}" for name, place in places.items()))
        wait_for((self.folder / "munge").exists, 20, self.said)
        self._daemon("slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        wait_for(lambda: self.run("sinfo", "-h", "-o", "%T %D").stdout == "idle 2\n", 60, self.said)

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        self._daemon("slurmd", "-D", "-N", node)

    def stop(self) -> None:
        """End all jobs and daemons."""
        self.run("scancel", "--full", "--signal", "KILL", "--user", getpass.getuser())
        self.run("scancel", "--user", getpass.getuser())
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(3)
        while pids := self.processes():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for daemon in self.daemons:
                daemon.poll()
            time.sleep(0.1)

    def _daemon(self, name: str, *arguments: str) -> None:
        log = (self.folder / "logs" / f"{len(self.daemons)}-{name}").open("w")
        command = [name, *arguments]
        process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        self.daemons.append(process)

    def said(self) -> str:
        """Return the ends of the daemons' logs."""
        return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in (self.folder / "logs").iterdir())

    def processes(self, *words: str, **variables: str) -> list[int]:
        """Return the cluster's processes, daemons and jobs, with these words in the command line and
        these variables.
        """
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                environment = (path / "environ").read_bytes().decode(errors="replace").split("\0")
                mine = f"SLURM_CONF={self.folder}/slurm.conf" in environment
                mine &= all(f"{name}={value}" in environment for name, value in variables.items())
                if mine and all(word.encode() in (path / "cmdline").read_bytes() for word in words):
                    found.append(int(path.name))
        return found

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Slurm in the repository, as a user does."""
        return subprocess.run(
            command, env=self.environment | environment, cwd=ROOT, capture_output=True, text=True, timeout=600
        )

    def submit(self, *arguments: str, **environment: str) -> str:
        """Submit a job with sbatch and return its number."""
        output = f"--output={self.folder}/%j.log"
        done = self.run("sbatch", "--parsable", output, *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """Return what scontrol reports about a job."""
        text = self.run("scontrol", "show", "job", "-o", number).stdout.split("\n")[0]
        return dict(part.split("=", 1) for part in text.split() if "=" in part)

    def wait(self, number: str, seconds: float = 150) -> dict[str, str]:
        """Wait until a job has ended, and return what scontrol reports about it."""
        wait_for(
            lambda: self.job(number)["JobState"] in OVER, seconds, lambda: f"{self.job(number)}\n{self.log(number)}"
        )
        return self.job(number)

    def log(self, number: str) -> str:
        """Return what a job printed."""
        path = Path(self.job(number)["StdOut"])
        return path.read_text() if path.exists() else ""
