"""Settings of all tests.

Without a GPU, Triton runs kernels in its interpreter: that must be said before anything imports Triton.
"""

import os

import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# How long an example takes is the machine's business. CI meets the same examples every time; elsewhere they are new.
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")
