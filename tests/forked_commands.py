"""Command lines `python -m MODULE ...`, each in a process that is forked from one with the libraries of options.

Their import would take most of a command's time. Nothing of the project is imported before the fork.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from ranks import ROOT

SERVER = """
import argparse, concurrent.futures, importlib.metadata, json, jsonargparse, os, runpy, sys, tomllib, yaml

def run(folder, module, *arguments):
    for number, name in ((1, "output"), (2, "errors")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT), number)
    imported = os.open(f"{folder}/imported", os.O_WRONLY | os.O_CREAT)
    os.write(imported, "".join(f"{name}\\n" for name in sys.modules).encode())
    sys.addaudithook(lambda event, args: event == "import" and os.write(imported, f"{args[0]}\\n".encode()))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)

for line in sys.stdin:
    child = os.fork()
    if not child:
        run(*json.loads(line))
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@cache
def server() -> subprocess.Popen[str]:
    """Start the process that forks."""
    environment = os.environ | {"DS_ACCELERATOR": "cpu"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", SERVER], cwd=ROOT, env=environment, text=True, **pipes)


@cache
def called(line: str) -> tuple[int, str, str, set[str]]:
    """Return status, standard output, standard error, and the top-level packages that `python -m LINE` has imported."""
    at_work = server()
    assert at_work.stdin and at_work.stdout
    with TemporaryDirectory() as directory:
        folder = Path(directory)
        at_work.stdin.write(json.dumps([directory, *line.split()]) + "\n")
        at_work.stdin.flush()
        status = int(at_work.stdout.readline())
        output, errors, imported = ((folder / name).read_text() for name in ("output", "errors", "imported"))
    return status, output, errors, {name.partition(".")[0] for name in imported.splitlines()}
