"""slurm/finetune.sbatch without Slurm: scripts stand in for srun, scontrol and Python."""

import os
import signal
import subprocess
import time

import pytest
from ranks import ROOT

PROGRAMS = {
    "srun": 'while [[ $1 != python ]]; do shift; done\nexec "$@"',
    "scontrol": 'echo "$@" >>"$RECORD/scontrol"\nif [[ $1 == show ]]; then echo "JobState=$STATE"; fi',
    "python": 'printf "%s\\n" "$@" >"$RECORD/arguments"\ntrap "exit 75" USR1\n'
    'if [[ $STATUS == wait ]]; then touch "$RECORD/up"; while :; do sleep 0.05; done; fi\nexit "$STATUS"',
    "activate": "",
}
ARGUMENTS = ["rte", "--sweep.rates", "[1e-4, 3e-4]", "--sweep.only", "{task}"]


@pytest.fixture
def start(tmp_path):
    """A function that starts the batch script; returns its process. The stand-ins write to the temporary directory."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (programs / name).chmod(0o755)

    def run(status, state="RUNNING", **variables):
        unset = {name: value for name, value in os.environ.items() if not name.startswith(("SITE_", "SLURM_"))}
        environment = unset | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SITE_VENV": str(tmp_path),
            "SLURM_SUBMIT_DIR": str(ROOT),
            "SLURM_JOB_ID": "7",
            "RECORD": str(tmp_path),
            "STATUS": str(status),
            "STATE": state,
            **variables,
        }
        command = ["bash", "slurm/finetune.sbatch", *ARGUMENTS]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return run


def requeued(folder):
    """Return the jobs that were requeued."""
    path = folder / "scontrol"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.removeprefix("requeue ") for line in lines if line.startswith("requeue ")]


def test_arguments_reach_the_command_and_an_array_replaces_the_number(start, tmp_path):
    """Words stay whole, and {task} is the number of the array's task."""
    array = {"SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3"}
    assert start(0, **array).wait(60) == 0
    expected = ["-m", "pipeline.finetune", *ARGUMENTS[:-1], "3"]
    assert (tmp_path / "arguments").read_text().splitlines() == expected
    assert requeued(tmp_path) == []


@pytest.mark.parametrize(("status", "state", "ends", "jobs"), [
    (75, "RUNNING", 0, ["9_3"]),
    (75, "CANCELLED", 75, []),
    (70, "RUNNING", 0, ["9_3"]),
    (1, "RUNNING", 1, []),
    (2, "RUNNING", 2, []),
])  # fmt: skip
def test_the_exit_status_decides(start, tmp_path, status, state, ends, jobs):
    """A run that has saved, or met a fault, is requeued under the number of its task; an error is not."""
    process = start(status, state, SLURM_ARRAY_JOB_ID="9", SLURM_ARRAY_TASK_ID="3")
    assert (process.wait(60), requeued(tmp_path)) == (ends, jobs)


def test_after_its_restarts_a_fault_ends_the_job(start, tmp_path):
    """The comment of the job counts the faults."""
    process = start(70, "RUNNING Comment=faults:3")
    assert (process.wait(60), requeued(tmp_path)) == (70, [])
    assert "job 7 had its 3 restarts after faults; the last status is 70" in process.stdout.read()


def test_a_signal_reaches_the_command_and_the_job_is_requeued(start, tmp_path):
    """The batch shell forwards Slurm's signal before the time limit, and waits for the end of the command."""
    process = start("wait")
    end = time.monotonic() + 60
    while not (tmp_path / "up").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    assert (process.wait(60), requeued(tmp_path)) == (0, ["7"])
    assert "saved: job 7 goes back into the queue (restart 1)" in process.stdout.read()
