"""The C++ kernel of the update checks what it is given."""

import pytest
import torch

from pipeline.kernels.lamb import cpu


@pytest.mark.parametrize("tensor", [torch.zeros(2, dtype=torch.float64), torch.zeros(2, 2).t()[:1]])
def test_only_contiguous_fp32_reaches_the_library(tensor):
    """Tensors that are not contiguous fp32 are rejected, because the library receives addresses only."""
    with pytest.raises(AssertionError, match="contiguous fp32"):
        cpu._fp32(tensor)
