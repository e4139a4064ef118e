"""Each target of the Makefile installs the packages that it needs."""

import subprocess

import pytest
from ranks import ROOT

TOOLS = ("pytest", "hypothesis", "ruff", "mypy", "timm", "triton")


def recipe(target):
    """Return the commands of a target if nothing is installed."""
    command = ["make", "--dry-run", "--always-make", target]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600).stdout


def test_the_demo_installs_what_it_runs_with_and_no_tools():
    """The demo installs neither tests nor lint tools, some of which are not built for every system."""
    assert "-r requirements.txt -r slurm/mpi.txt" in recipe("demo") and "-r tests/" not in recipe("demo")
    assert not any(line.startswith(TOOLS) for line in (ROOT / "requirements.txt").read_text().splitlines())


@pytest.mark.parametrize("target", ["test", "test-long", "test-all", "check"])
def test_tests_and_lint_install_their_tools(target):
    """The targets of tests and lint install their tools, and the requirements of the pipeline."""
    for file in (
        "requirements.txt",
        "tests/requirements.txt",
        "tests/lint.txt",
        "tests/oracles.txt",
        "pipeline/conversion/onnx.txt",
    ):
        assert f"-r {file}" in recipe(target)
