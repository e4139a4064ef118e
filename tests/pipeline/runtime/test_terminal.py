"""A job continues after the reader of its output has gone."""

import subprocess
import sys

JOB = """
import sys
from pipeline.runtime.terminal import tolerating_closed_output
with tolerating_closed_output():
    print("ready", flush=True)
    sys.stdin.readline()
    for stream in (sys.stdout, sys.stderr):
        for number in range(2000):
            print("progress " * 20, file=stream, flush=number % 2 == 0)
    print(sys.stdout.isatty(), end="")
    open(sys.argv[1], "w").write("done")
"""


def test_a_job_whose_reader_has_gone_ends_well(tmp_path):
    """A job ends well after its reader was killed, as in `pretrain 2>&1 | tee log`, or after a connection was lost."""
    done = tmp_path / "done"
    command = [sys.executable, "-c", JOB, str(done)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as job:
        assert job.stdout is not None and job.stdin is not None
        assert job.stdout.readline() == b"ready\n"
        job.stdout.close()
        job.stdin.close()
        assert job.wait(60) == 0 and done.read_text() == "done"


def test_other_errors_of_writing_are_raised():
    """Other errors of writing, such as that of a full disk, are raised."""
    code = (
        "import sys\nfrom pipeline.runtime.terminal import tolerating_closed_output\n"
        "sys.stdout = open('/dev/full', 'w')\n"
        "with tolerating_closed_output():\n"
        "    try:\n        print('x', flush=True)\n"
        "    except OSError as error:\n        import os; os._exit(error.errno)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 28


def test_what_can_be_read_arrives(capsys):
    from pipeline.runtime.terminal import tolerating_closed_output

    with tolerating_closed_output():
        print("to stdout")
        print("to stderr", file=sys.stderr)
    assert capsys.readouterr() == ("to stdout\n", "to stderr\n")
