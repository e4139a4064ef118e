"""A checkpoint is exported with the files that its manifest lists, and no others."""

import json

import pytest

from pipeline.conversion.exporting import require_listed


def test_a_file_that_no_manifest_lists_is_refused(tmp_path):
    """A file that was added after the checkpoint had been written is an error."""
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").touch()
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {"tokenizer/tokenizer.json": {}}}))
    require_listed(tmp_path)
    (tmp_path / "tokenizer" / "tokenization_mine.py").touch()
    with pytest.raises(ValueError, match=r"tokenization_mine.py: not in the checkpoint's manifest.json"):
        require_listed(tmp_path)
