"""Every command and sub-command as a process: help and configuration, and what a wrong command line says."""

import os
import re
import subprocess
import sys

import pytest
from ranks import ROOT

HEAVY = {"torch", "deepspeed", "transformers", "tokenizers", "pyarrow", "matplotlib", "numpy"}
"""Libraries that take longer to import than a person waits for a help text."""

HELP = [
    "pipeline.pretrain --help",
    "pipeline.pretrain --print_config",
    "pipeline.pretrain --recipe pipeline/recipes/demo.toml --print_config",
    "pipeline.convert --help",
    "pipeline.convert export --help",
    "pipeline.convert import --help",
    "pipeline.convert fill --help",
    "pipeline.report --help",
    "pipeline.plan --help",
]

PREPROCESSING = [
    "",
    *(f"{command} " for command in ("run", "extract", "tokenizer", "build", "inspect", "verify", "download")),
    "download wikipedia ",
    "download url ",
]

WRONG = {
    "pipeline.pretrain": "the following arguments are required: run_dir",
    "pipeline.pretrain --nonsense 1": "nonsense",
    "pipeline.convert": "export,import,fill",
    "pipeline.convert nonsense": "invalid choice: 'nonsense'",
    "pipeline.convert export": "required",
    "pipeline.report": "the following arguments are required: runs",
    "pipeline.plan": "the following arguments are required: recipes",
}


def called(line):
    """Status, standard output, standard error, and the top-level packages that `python -m LINE` has imported."""
    command = [sys.executable, "-X", "importtime", "-m", *line.split()]
    environment = os.environ | {"DS_ACCELERATOR": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    importing = re.compile(r"import time:.*\| +(\S.*)\n")
    imported = {name.partition(".")[0] for name in importing.findall(done.stderr)}
    return done.returncode, done.stdout, importing.sub("", done.stderr), imported


@pytest.mark.parametrize("line", HELP)
def test_help_is_text_without_an_error_and_before_any_heavy_library(line):
    """Status 0, nothing on standard error, and none of HEAVY has been imported by then."""
    status, text, errors, imported = called(line)
    assert (status, errors) == (0, "")
    assert len(text.splitlines()) > 10
    assert "argparse" in imported, "the test does not see what is imported"
    assert not HEAVY & imported


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_line_is_one_line(line):
    """Status 2, one line on standard error, nothing on standard output, and no heavy library either."""
    status, text, errors, imported = called(line)
    assert (status, text) == (2, "")
    assert errors.startswith("error: ") and errors.count("\n") == 1 and WRONG[line] in errors
    assert not HEAVY & imported


@pytest.mark.parametrize("line", PREPROCESSING)
def test_help_of_preprocessing(line):
    """The same, but Arrow and the tokenizers come with the options of its stages."""
    status, text, errors, imported = called(f"preprocessing {line}--help")
    assert (status, errors) == (0, "")
    assert len(text.splitlines()) > 5
    assert not {"torch", "deepspeed", "transformers", "matplotlib"} & imported
