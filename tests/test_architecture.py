"""The house: a file imports only from floors below its own, and some libraries have a sole importer."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FLOORS = {
    "preprocessing": [
        {"errors", "faults"},
        {"commandline", "files", "inputs", "languages", "schema", "progress", "textfiles", "workers"},
        {"sources", "download"},
        {"sentences", "tokenizer", "segments"},
        {"options"},
        {"filters", "shards", "stage_directory"},
        {"corpus"},
        {"stages"},
        {"checks", "inspect"},
        {"__main__"},
    ],
    "pipeline": [
        {"runtime"},
        {"runlog"},
        {"kernels"},
        {"data"},
        {"losses", "optim", "reporting"},
        {"model"},
        {"checkpoints", "engine"},
        {"families", "training"},
        {"conversion"},
        {"config"},
        {"jobs", "planning"},
        {"convert", "plan", "pretrain", "report"},
    ],
}

SOLE_IMPORTERS = {
    "torch": ("pipeline", "benchmarks"),
    "deepspeed": ("pipeline/engine/engine.py", "pipeline/engine/partitions.py", "benchmarks/unaware.py"),
    "transformers": ("pipeline/conversion/huggingface.py", "benchmarks"),
    "mpi4py": ("preprocessing/workers.py",),
    "matplotlib": (
        "pipeline/reporting/figures.py",
        "pipeline/reporting/ratios.py",
        "pipeline/reporting/timeline.py",
        "pipeline/planning/picture.py",
        "preprocessing/inspect/plots.py",
        "benchmarks",
    ),
    "jinja2": ("preprocessing/inspect/page.py", "pipeline/reporting/page.py"),
    "rich": ("pipeline/reporting/follow.py",),
}

SHARD_FORMAT = {"preprocessing.faults", "preprocessing.files", "preprocessing.schema", "preprocessing.shards"}

FILES = sorted(path for top in (*FLOORS, "benchmarks") for path in (ROOT / top).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, `from a import b` as a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of(package: str, name: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS[package]) if name in rooms]
    assert found, f"{package}.{name} stands on no floor; give it one in tests/test_architecture.py and docs/design.md"
    return found[0]


def room(path: Path) -> tuple[str, str]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0], parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    """No file imports from its own floor (but its own room) or above."""
    package, name = room(path)
    if package not in FLOORS or name == "__init__":
        return
    for imported in imports(path):
        parts = imported.split(".")
        if parts[0] != package or len(parts) < 2:
            continue
        target = parts[1]
        if target != name:
            assert floor_of(package, target) < floor_of(package, name), f"{path.name} imports {imported} from above"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sole_importers(path):
    """DeepSpeed, transformers, MPI and torch are each known to few files; pipeline knows only the shard format."""
    place = str(path.relative_to(ROOT))
    for imported in imports(path):
        library = imported.split(".")[0]
        for owner in [SOLE_IMPORTERS[library]] if library in SOLE_IMPORTERS else []:
            assert place.startswith(owner), f"{place} imports {library}; only {owner} may"
        if place.startswith("pipeline/") and library == "preprocessing":
            assert ".".join(imported.split(".")[:2]) in SHARD_FORMAT, f"{place} imports {imported}"
        if place.startswith("preprocessing/"):
            assert library not in {"pipeline", "benchmarks"}, f"{place} imports {imported}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path):
    """Files under 450 lines, functions under 60."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 450, f"{path.name} is too long for one subject"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            assert size <= 60, f"{path.name}: {node.name} has {size} lines"


def test_every_file_of_preprocessing_has_its_test_file():
    """Of the same name, in the same place: preprocessing/a/b.py has tests/preprocessing/a/test_b.py."""
    files = [path.relative_to(ROOT) for path in FILES if path.is_relative_to(ROOT / "preprocessing")]
    tests = [path.parent / f"test_{path.stem.strip('_')}.py" for path in files if path.stem != "__init__"]
    assert not [str(test) for test in tests if not (ROOT / "tests" / test).is_file()]
