"""`python -m preprocessing inspect`: an overview of a directory as text, on request as a page too."""

from concurrent.futures import Executor
from pathlib import Path

from preprocessing.errors import DataError
from preprocessing.inspect.overview import look
from preprocessing.inspect.text import render
from preprocessing.options import InspectConfig


def inspect(directory: Path, config: InspectConfig, executor: Executor) -> str:
    """Describes a directory, and writes the page if there is to be one.

    Args:
        directory: OUT, or one of the directories in it.
        config: what is shown.
        executor: counts shards.

    Raises:
        DataError: there is nothing of ours, it is damaged or not complete, or the page cannot be written.
    """
    if config.html:
        _check_writable(config.html)
    overview = look(directory, config.samples, executor)
    if config.html:
        # Imported here because matplotlib takes long to load, and text needs none.
        from preprocessing.inspect.page import write_page

        write_page(config.html, overview)
    return render(overview)


def _check_writable(path: Path) -> None:
    """Checks, before any work is done, that `path` can be a file."""
    if path.is_dir():
        raise DataError(f"--html: {path}: is a directory; give a file in it, such as {path / 'inspect.html'}")
    if not path.parent.is_dir():
        raise DataError(f"--html: {path}: no directory {path.parent}; make it, or give another file")
