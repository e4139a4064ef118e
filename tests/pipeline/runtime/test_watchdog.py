"""A process without progress ends with its stacks in the log; the tests set the clock."""

import subprocess
import sys

from attempts import SECONDS_TO_END
from ranks import ROOT

SCRIPT = """
import sys, time, types
from pipeline.runtime import watchdog as module
now = 0.0
module.time = types.SimpleNamespace(monotonic=lambda: now)
log = open(sys.argv[1], "w")
watchdog = module.Watchdog(0.5 / 60, log)
watchdog.start()
def stuck():
    {stuck}
for _ in range(10):
    watchdog.beat()
    time.sleep(0.06)  # the watcher looks every 0.05 s
    now += 0.4
print("beaten", flush=True)
stuck()
watchdog.stop()
"""


def run(stuck, log):
    script = SCRIPT.format(stuck=stuck)
    return subprocess.run(
        [sys.executable, "-c", script, log], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_TO_END
    )


def test_a_process_without_progress_ends_with_its_stacks(tmp_path):
    """A process without progress ends with status 70 and a message, and the log has the function in which it was."""
    done = run("global now; now += 1; time.sleep(600)", tmp_path / "log")
    assert done.returncode == 70 and done.stdout == "beaten\n"
    assert "error: rank 0 made no progress for 0.00833333 minutes (engine.timeout_minutes)" in done.stderr
    assert "in stuck" in (tmp_path / "log").read_text()


def test_a_process_that_ends_in_time_is_left_alone(tmp_path):
    """Calls of `beat` postpone the deadline, and `stop` ends the watchdog."""
    done = run("pass", tmp_path / "log")
    assert done.returncode == 0 and done.stderr == ""
    assert (tmp_path / "log").read_text() == ""
