"""Two hosts on this machine for tests, 127.0.0.2 and 127.0.0.3, which ssh reaches through their own sshd and keys."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from ports import free_port
from session_directory import own_session_directory

ROOT = Path(__file__).resolve().parent.parent
HOSTS = ("127.0.0.2", "127.0.0.3")
PROGRAMS = ("sshd", "ssh", "ssh-keygen", "pdsh")
SBIN = ":/usr/sbin:/sbin"
SSHD = """
ListenAddress {host}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
SetEnv TEST_HOST={folder}/{host}
"""
SSH = """
Port {port}
IdentityFile {folder}/user_key
IdentitiesOnly yes
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
"""


def missing() -> list[str]:
    """Return the programs for two hosts that are missing on this machine."""
    return [name for name in PROGRAMS if shutil.which(name, path=os.environ["PATH"] + SBIN) is None]


class Hosts:
    """The ssh daemons, and commands that reach them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.daemons = folder, list[subprocess.Popen]()
        self.port = free_port()
        (folder / "bin").mkdir()
        # ssh reads its configuration from the home that the system knows, whatever HOME says; hence a program in front.
        (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
        (folder / "bin" / "ssh").chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TEST_HOST": f"{folder}/launcher",
            "DS_ENV_FILE": str(folder / "deepspeed_env"),
            "DS_ACCELERATOR": "cpu",
            "OMP_NUM_THREADS": "1",
        }

    def start(self) -> None:
        """Start the daemons and wait until both answer."""
        (self.folder / "ssh_config").write_text(SSH.format(folder=self.folder, port=self.port))
        for name in ("host_key", "user_key"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            subprocess.run(key, check=True, timeout=600)
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, as root, locks itself in
        sshd = str(shutil.which("sshd", path=os.environ["PATH"] + SBIN))
        for host in HOSTS:
            config, log = self.folder / f"{host}.conf", (self.folder / f"{host}.log").open("w")
            config.write_text(SSHD.format(folder=self.folder, host=host, port=self.port))
            daemon = [sshd, "-D", "-e", "-f", str(config)]
            self.daemons.append(subprocess.Popen(daemon, stdout=log, stderr=log, start_new_session=True))
            answer = ["ssh", "-o", "ConnectionAttempts=20", host, "echo $TEST_HOST"]
            done = subprocess.run(answer, env=self.environment, capture_output=True, text=True, timeout=600)
            assert done.stdout == f"{self.folder}/{host}\n", done.stderr

    def stop(self) -> None:
        """End the daemons and all processes below them."""
        while pids := self.processes():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        for daemon in self.daemons:
            daemon.terminate()
            daemon.wait(10)

    def processes(self, *words: str, host: str = "") -> list[int]:
        """Return the processes that ssh started on a host, or all of a launch, whose command line has these words."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                here = f"TEST_HOST={self.folder}/{host}".encode() in (path / "environ").read_bytes()
                line = (path / "cmdline").read_bytes()
                if here and line and all(word.encode() in line for word in words):
                    found.append(int(path.name))
        return found

    def launch(self, *command: str) -> subprocess.Popen[str]:
        """Start a command of the virtual environment in the repository."""
        log = (self.folder / "launched.log").open("w")
        environment = self.environment | own_session_directory()
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, text=True, start_new_session=True
        )

    def said(self) -> str:
        """Return what the last command printed."""
        return (self.folder / "launched.log").read_text()
