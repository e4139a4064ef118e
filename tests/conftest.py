"""Settings for all tests.

Without a GPU, Triton runs kernels in its interpreter, which must be selected before anything imports Triton.
"""

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings
from session_directory import NAME

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# How long an example takes is the machine's business. CI meets the same examples every time; elsewhere they are new.
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")


@pytest.fixture(scope="session", autouse=True)
def session_directories_of_mpirun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the files of every `mpirun` below pytest's own directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NAME, str(tmp_path_factory.mktemp("mpirun")))
        yield
