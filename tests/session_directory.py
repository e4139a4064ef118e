"""The session directory of `mpirun` in tests.

By default it is in the temporary directory, as `ompi.PID`, and is removed at the end. A killed `mpirun` leaves it
behind, and a later one with the same process id then ends with "The PMIx server's listener thread failed to start".
Tests kill many of them.
"""

import os
import tempfile

NAME = "PRTE_MCA_prte_tmpdir_base"


def own_session_directory() -> dict[str, str]:
    """Return the variable that gives the next `mpirun` a directory of its own, below that of all tests."""
    return {NAME: tempfile.mkdtemp(dir=os.environ[NAME])}
