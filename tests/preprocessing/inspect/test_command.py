"""Laws of preprocessing/inspect/command.py."""

import pytest

from preprocessing.errors import DataError
from preprocessing.inspect import command
from preprocessing.inspect.command import InspectConfig, inspect
from preprocessing.workers import SerialExecutor


@pytest.fixture
def directory(tmp_path, make_random, write_dataset):
    """A samples directory."""
    return write_dataset(tmp_path / "data", [make_random(50)], [make_random(10, 1)])


def test_text_is_given_always_and_a_page_on_request(directory, tmp_path):
    """The text is printed with and without a page, which is written on request."""
    text = inspect(directory, InspectConfig(samples=1), SerialExecutor())
    assert text.count("    sample ") == 2
    html = tmp_path / "page.html"
    assert inspect(directory, InspectConfig(samples=1, html=html), SerialExecutor()) == text
    assert html.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_page_that_cannot_be_written_is_an_error_before_the_work(directory, tmp_path, monkeypatch):
    """A page that cannot be written, to a directory or in a missing one, is an error before the work."""
    monkeypatch.setattr(command, "measure_directory", lambda *_: pytest.fail("the work has begun"))
    with pytest.raises(DataError, match=r"--html: .*: is a directory; give a file in it, such as"):
        inspect(directory, InspectConfig(html=tmp_path), SerialExecutor())
    with pytest.raises(DataError, match=r"--html: .*: no directory"):
        inspect(directory, InspectConfig(html=tmp_path / "nowhere" / "page.html"), SerialExecutor())


def test_a_negative_number_of_samples_is_refused():
    """The number must be at least 0; with 0 no sample is shown."""
    with pytest.raises(ValueError, match="samples = -1: must be at least 0"):
        InspectConfig(samples=-1)
