"""The Slurm cluster of two nodes that the tests of this directory share."""

from collections.abc import Iterator

import pytest
from clusters import Cluster, missing


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two nodes, which is ended with all that runs on it."""
    if lacking := missing():
        pytest.skip(f"no Slurm here: {', '.join(lacking)} missing; Debian: slurm-wlm, munge, libpmix-dev")
    made = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        made.start()
        yield made
    finally:
        made.stop()
