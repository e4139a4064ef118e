"""Reading a file never executes it, and no name in it leads out of its directory."""

import ast
import re

import pytest
from test_architecture import FILES, ROOT

from pipeline.checkpoints import checkpoint

FORBIDDEN = {
    "pickle": "loading executes what it reads",
    "marshal": "loading may crash on what it reads",
    "shelve": "is pickle",
    "joblib": "is pickle",
    "dill": "is pickle",
}
CALLS = {
    r"torch\.load\b(?!.*weights_only=True)": "torch.load without weights_only=True",
    r"\b(np|numpy)\.load\b.*allow_pickle=True": "numpy pickles",
    r"(?<![\w.])(eval|exec)\(": "executes text",
    r"\.extractall\(|\.extract\(": "follows names out of the archive",
    r"shell=True|os\.system\(": "a shell reads file names",
    r"yaml\.(unsafe_)?load\(": "makes objects",
    r"trust_remote_code=True": "executes what a hub sends",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_executes_what_it_reads(path):
    """No file of the packages or the benchmarks calls a function that executes what it reads."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name not in FORBIDDEN, f"{path}: {name} {FORBIDDEN[name]}"
    for pattern, why in CALLS.items():
        assert not re.search(pattern, text), f"{path}: {why}"


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "tokenizer/../../outside"])
def test_a_manifest_does_not_lead_out_of_its_checkpoint(tmp_path, name):
    """A manifest that names a file outside of its directory is an error."""
    (tmp_path / "outside").write_text("x")
    directory = tmp_path / "step-00000001"
    directory.mkdir()
    entry = {"bytes": 1, "sha256": "0"}
    checkpoint.write_json(directory / "manifest.json", {"format_version": 1, "files": {name: entry}})
    with pytest.raises(ValueError, match="leaves the directory"):
        checkpoint.verify(directory)
