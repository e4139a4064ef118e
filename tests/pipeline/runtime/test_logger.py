"""The logger of the pipeline is independent of the root logger and of torch."""

import subprocess
import sys

from pipeline.runtime.logger import LOG


def test_messages_do_not_reach_the_root_logger():
    """A library that configures logging does not print the log of each rank on the terminal."""
    assert LOG.name == "pipeline" and not LOG.propagate


def test_it_loads_no_torch():
    """Importing the logger loads no other module of the project."""
    code = "import sys, pipeline.runtime.logger; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
