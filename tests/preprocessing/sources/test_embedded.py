"""Laws of preprocessing/sources/embedded.py."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from preprocessing.sources import embedded
from preprocessing.sources.distributions import Installed, Packages
from preprocessing.sources.embedded import prose, split_embedded

ROOT = Path(__file__).parents[3]


def test_prose_is_kept_and_code_is_not():
    """Sentences are kept, one paragraph per line, and doctests, indented code, headings and signatures are removed."""
    text = """Return the ``name`` of
    this object as a string.

        for x in y:
            print(x)

        This example is indented like code, so it is code.

    if (x[3] == {4: 5}) -> "%d/%s" +/- 9.99: y += x**2.

    >>> f(3)
    9

    See also
    ========

    object.__init__(self[, ...])

    The second paragraph is English as well.
    """
    assert prose(text) == "Return the name of this object as a string.\nThe second paragraph is English as well."


@pytest.mark.parametrize(
    ("splits", "documents", "characters"), [(1, 1, 1000), pytest.param(None, 300, 10**6, marks=pytest.mark.slow)]
)
def test_every_python_has_more_than_a_megabyte_that_is_parsed_not_imported(splits, documents, characters):
    """The standard library gives hundreds of documents, none of which is empty, and none of its code is run."""
    program = (
        "import sys; from preprocessing.sources.embedded import split_embedded\n"
        f"splits = split_embedded('stdlib').splits[:{splits}]\n"
        "documents = [document for split in splits for document in split.records()]\n"
        "assert not {'antigravity', 'turtle', 'pydoc_data.topics'} & set(sys.modules)\n"
        f"assert len(documents) > {documents}\n"
        f"assert sum(len(document.text) for document in documents) > {characters}\n"
        "assert all(document.text.strip() for document in documents)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_distributions_follow_the_standard_library_in_one_split(monkeypatch):
    """Distributions follow the standard library in one split, and each part has its version."""
    root = Path("packages")
    found = [Installed("a", "1", root, (Path("a.py"),)), Installed("b", "2", root, (Path("b.py"), Path("c.py")))]
    monkeypatch.setattr(embedded, "find_installed", lambda _: (found, ["b is another"]))
    library, everything = split_embedded("stdlib"), split_embedded()
    python = {"python": platform.python_version()}
    assert everything.splits == [*library.splits, Packages((Path("a.py"), Path("b.py"), Path("c.py")))]
    assert (library.versions, library.notes) == (python, [])
    assert (everything.versions, everything.notes) == (python | {"a": "1", "b": "2"}, ["b is another"])
