"""Virtual environments of the peers, so that their packages do not affect those of this project."""

import subprocess
import sys
import venv
from pathlib import Path

PACKAGES: dict[str, tuple[list[str], list[str]]] = {
    "lddl": (
        ["lddl==0.1.0", "transformers==4.16.2"],
        [
            "dask==2021.7.1",
            "distributed==2021.7.1",
            "pandas==1.5.3",
            "numpy==1.26.4",
            "pyarrow==14.0.1",
            "tokenizers==0.13.3",
            "huggingface_hub==0.36.2",
            "nltk==3.10.4",
            "blingfire==0.1.8",
            "requests==2.34.2",
            "sacremoses==0.2.0",
        ],
    ),
    "huggingface": ([], ["datasets==5.2.0", "transformers==5.23.0"]),
}
"""Packages that are installed without their dependencies, and packages with them, by environment."""

SUBSTITUTIONS = (
    "Python 3.11: pandas 1.5.3, NumPy 1.26.4 and PyArrow 14.0.1 under Dask 2021.7.1 (its pin), tokenizers 0.13.3 under "
    "transformers 4.16.2 (its pin)",
    "sentences by blingfire's text_to_sentences, because nltk's punkt model is a download",
    "--schedule local, a worker process per core, in place of dask-mpi",
    "asyncio.wait handed tasks, as Python 3.11 demands; Dask's sampling of its workers' stacks, which fails there, off",
    "documents written beforehand, untimed, as its Wikipedia downloader writes them; its load balancer not run",
)
"""Replacements in LDDL's environment, which benchmarks/peers/lddl_shim.py makes where they are patches."""


def make_environments(directory: Path) -> dict[str, str]:
    """Return Python's path by environment, `this` among them; install the environments that `directory` lacks."""
    return {"this": sys.executable} | {name: str(_make(directory / name, *PACKAGES[name])) for name in PACKAGES}


def _make(directory: Path, alone: list[str], with_dependencies: list[str]) -> Path:
    python, ready = directory / "bin" / "python", directory / "ready"
    if not ready.exists():
        venv.create(directory, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if alone:
            subprocess.run([*pip, "--no-deps", *alone], check=True)
        subprocess.run([*pip, *with_dependencies], check=True)
        ready.touch()
    return python
