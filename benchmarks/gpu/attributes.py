"""Whether this version of torch and Triton has all that the code names: `python -m benchmarks.gpu.attributes`.

A function that another version lacks is otherwise found when it is called, which for much of the code needs a GPU.
"""

import ast
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipeline", "benchmarks")
LIBRARIES = ("torch", "triton")


def named(source: str) -> set[str]:
    """Dotted names, from the library's on, of what Python source imports from `LIBRARIES` and of the attributes that it
    reads from those names."""
    tree, imported = ast.parse(source), dict[str, str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.asname or name.name.split(".")[0]: name.name for name in node.names if name.asname}
            imported |= {top: top for name in node.names if not name.asname for top in [name.name.split(".")[0]]}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    chains = {*imported.values(), *(chain for node in ast.walk(tree) for chain in attributes(node, imported))}
    return {chain for chain in chains if chain.split(".")[0] in LIBRARIES}


def attributes(node: ast.AST, imported: dict[str, str]) -> Iterator[str]:
    """Dotted name of a node that reads attributes of an imported name, one after another; none of any other node."""
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.insert(0, node.attr)
        node = node.value
    if path and isinstance(node, ast.Name) and node.id in imported:
        yield ".".join([imported[node.id], *path])


def is_missing(name: str) -> bool:
    """Whether there is no such module or attribute."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return True
    return False


def main() -> None:
    """Check all files.

    Raises:
        SystemExit: something is missing.
    """
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    names = sorted(set().union(*(named(file.read_text(encoding="utf-8")) for file in files)))
    if missing := [name for name in names if is_missing(name)]:
        sys.exit(f"error: this version has no {', '.join(missing)}")
    print(f"all {len(names)} names of {' and '.join(LIBRARIES)} in {' and '.join(PACKAGES)} exist")


if __name__ == "__main__":
    main()
