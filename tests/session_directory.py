"""Where `mpirun` keeps the files of a job.

It keeps them below the temporary directory, in `ompi.PID`, and removes them when it ends. A killed `mpirun` leaves them
behind, and a later one that gets the same process id then ends with "The PMIx server's listener thread failed to
start". Tests kill many of them.
"""

import os
import tempfile

NAME = "PRTE_MCA_prte_tmpdir_base"


def own_session_directory() -> dict[str, str]:
    """The variable that gives the next `mpirun` a directory of its own, below that of all tests."""
    return {NAME: tempfile.mkdtemp(dir=os.environ[NAME])}
