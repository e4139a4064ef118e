"""Exit statuses are those that shells, launchers and slurm/pretrain.sbatch distinguish."""

import os

from pipeline.runtime import errors


def test_statuses_are_those_of_sysexits():
    """A fault is EX_SOFTWARE of sysexits.h, an interruption EX_TEMPFAIL."""
    assert (errors.FAULT, errors.INTERRUPTED) == (os.EX_SOFTWARE, os.EX_TEMPFAIL)


def test_statuses_differ_and_are_not_those_of_signals():
    """128 and above mean that a signal killed the process."""
    statuses = [errors.SUCCESS, errors.ERROR, errors.USAGE, errors.FAULT, errors.INTERRUPTED]
    assert len(set(statuses)) == len(statuses) and max(statuses) < 128 and errors.SUCCESS == 0
