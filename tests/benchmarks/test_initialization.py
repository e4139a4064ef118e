"""Laws of the comparison of initialisations by position."""

import pytest
import torch

from benchmarks.initialization import main
from benchmarks.initialization_side import change
from pipeline.model import initialization, relative_initialization


def test_a_variant_changes_the_scores_of_the_first_heads(monkeypatch):
    """The weights of a head grow with the root of SCORE; offsets are those of the variant."""
    modules = (initialization, relative_initialization)
    for module in modules:
        for name in ("SCORE", "first_offsets"):
            monkeypatch.setattr(module, name, getattr(module, name))  # restores both

    def query() -> torch.Tensor:
        weights = torch.zeros(2, 16, 64)
        initialization.attend_to_offset(*weights, initialization.position_frequencies(8), 1)
        return weights[0]

    before = query()
    change({"SCORE": 4 * initialization.SCORE, "offsets": [[3, -3], []]})
    torch.testing.assert_close(query(), 2 * before)
    for module in modules:  # DeBERTa and ModernBERT begin by the other one
        assert [module.first_offsets(layer, 4) for layer in range(3)] == [(3, -3), (), ()]
        assert module.SCORE == initialization.SCORE


def test_an_unknown_constant_is_an_error(tmp_path):
    """A misspelt constant would be set and change nothing."""
    with pytest.raises(SystemExit, match="SCORES: must be one of"):
        main(tmp_path, {"more": {"SCORES": 12}})
