"""The command `inspect`: an overview of a directory as text, and optionally as an HTML page."""

from concurrent.futures import Executor
from pathlib import Path

from preprocessing.errors import DataError
from preprocessing.inspect.overview import measure_directory
from preprocessing.inspect.text import render
from preprocessing.options import InspectConfig


def inspect(directory: Path, config: InspectConfig, executor: Executor) -> str:
    """Returns the overview of a directory as text, and writes the HTML page if one is requested.

    Args:
        directory: OUT, or one of the directories in it.
        config: options of the command.
        executor: executor of the tasks that count shards.

    Raises:
        DataError: the directory has no output of this program, it is damaged or incomplete, or the page cannot be
            written.
    """
    if config.html:
        _check_writable(config.html)
    overview = measure_directory(directory, config.samples, executor)
    if config.html:
        # Imported here because matplotlib takes long to load, and only the page needs it.
        from preprocessing.inspect.page import write_page

        write_page(config.html, overview)
    return render(overview)


def _check_writable(path: Path) -> None:
    """Checks before any work that a file can be created at `path`."""
    if path.is_dir():
        raise DataError(f"--html: {path}: is a directory; give a file in it, such as {path / 'inspect.html'}")
    if not path.parent.is_dir():
        raise DataError(f"--html: {path}: no directory {path.parent}; make it, or give another file")
