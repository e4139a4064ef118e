"""Laws of preprocessing/sources/distributions.py."""

import random
import sys
from pathlib import Path

import pytest

from preprocessing.errors import DataError
from preprocessing.sources.distributions import NOT_PYTHON, Packages, documentation, find_installed, pinned
from preprocessing.sources.documents import Document, LeftOut

FIRST = "This is the first of the sentences in the file."
SECOND = "And this is the second of the sentences in it."
THIRD = "The third of them is in the class that follows."


def module(*docstrings):
    """Return a file with a docstring for each function, which would fail if it were run."""
    body = "".join(f'def f{number}():\n    """{text}"""\n' for number, text in enumerate(docstrings))
    return f'raise SystemExit("executed")\n{body}'.encode()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs a distribution of these files in a directory that only importlib.metadata searches."""
    site = tmp_path / "site"
    monkeypatch.setattr(sys, "path", [str(site)])

    def make(name, version, files, listed=()):
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        names = [*files, *listed]
        random.shuffle(names)
        (info / "RECORD").write_text("".join(f"{path},,\n" for path in names))
        for path, data in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_bytes(data)
        return site

    return make


def texts(*distributions):
    """Return the texts of the documents of distributions."""
    records = Packages(tuple(file for found in distributions for file in found.files)).records()
    return [record.text for record in records if isinstance(record, Document)]


def test_pins_are_read_from_the_clone(tmp_path):
    """Pins with extras, comments and local versions are read; ranges, and pins with a condition, are not."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "requirements.txt").write_text(
        '# x==1\ntorch==2.1\nJinja2==3.0  # pages\nnumpy>=2\na[b,c]==4.0\nold==1; python_version < "3.14"\n'
    )
    assert list(pinned(tmp_path, "none").items()) == [("a", "4.0"), ("jinja2", "3.0"), ("torch", "2.1")]


def test_without_a_clone_pins_are_those_of_the_installed_project(tmp_path, install):
    """Without a clone, pins are those of the installed project; without either, the error states what to
    use instead.
    """
    site = install("project", "1", {})
    (site / "project-1.dist-info" / "METADATA").write_text("Name: project\nVersion: 1\nRequires-Dist: torch==2.1\n")
    (site / "requirements.txt").write_text("other==1\n")
    assert pinned(site, "project") == {"torch": "2.1"}
    with pytest.raises(DataError, match=r"use --sources embedded:stdlib$"):
        pinned(tmp_path, "nothing")


def test_what_is_missing_or_of_another_version_is_noted(install):
    """A distribution that is missing or has another version is noted; a local version counts as the pin's."""
    for name, version in {"same": "1.0", "local": "1.0+cpu", "newer": "1.1"}.items():
        install(name, version, {f"{name}.py": module(FIRST)})
    found, notes = find_installed(dict.fromkeys(["gone", "local", "newer", "same"], "1.0"))
    assert [(one.name, one.version) for one in found] == [("local", "1.0+cpu"), ("newer", "1.1"), ("same", "1.0")]
    assert [note.split(";")[0] for note in notes] == [
        "gone 1.0 is not installed",
        "newer 1.1 is installed instead of 1.0",
    ]


def test_only_files_of_the_distribution_are_read(tmp_path, install):
    """Files that RECORD places elsewhere, links to other files, absent files and tests are not read."""
    outside = tmp_path / "outside.py"
    outside.write_bytes(module(SECOND))
    files = {"a/b.py": module(FIRST), "a/tests/c.py": module(THIRD), "a/data.txt": FIRST.encode()}
    site = install("a", "1", files, ["../outside.py", str(outside), "a/link.py", "a/absent.py"])
    (site / "a" / "link.py").symlink_to(outside)
    (found,), _ = find_installed({"a": "1"})
    assert found.files == (site / "a" / "b.py",)
    assert texts(found) == [FIRST]


def test_paragraphs_that_a_file_before_has_are_dropped(install):
    """A paragraph that an earlier file has is dropped, whatever the order of RECORD, and a file without any other gives
    no document.
    """
    install("b", "1", {"b/z.py": module(FIRST, SECOND), "b/a.py": module(SECOND, THIRD, THIRD)})
    install("c", "1", {"c.py": module(FIRST, THIRD)})
    found, _ = find_installed({"b": "1", "c": "1"})
    assert texts(*found) == [f"{SECOND}\n{THIRD}", FIRST]


def test_files_that_are_no_python_are_counted(tmp_path):
    """Files with the syntax of another version, zero bytes or another encoding are counted, and a file of code alone is
    not parsed.
    """
    contents = {
        "a.py": b'"""' + FIRST.encode() + b'"""\nprint "old"\n',
        "b.py": b'"""' + FIRST.encode() + b'"""\n\0',
        "c.py": b'"""' + FIRST.encode() + b'\xff"""\n',
        "d.py": module(SECOND),
        "e.py": b"x = ((\n" * 100,
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    records = [*Packages(tuple(tmp_path / name for name in contents)).records()]
    assert records == [*(LeftOut(NOT_PYTHON, number) for number in range(3)), Document(SECOND, 3)]


def test_long_strings_given_to_functions_are_documentation():
    """Long strings that functions such as add_docstr take are documentation, also in tables and sums; short ones,
    formatted ones and those inside functions are not.
    """
    source = f'''
"""{FIRST}"""
TEMPLATE = {{"a": """{SECOND} {THIRD}""", "b": ["short", "words"]}}
add_docstr(f, "name", r"""{THIRD} {FIRST}""" + """{FIRST} {SECOND}""".format(**common))
message = f"""{FIRST} {SECOND} {{message}}"""
class C:
    """{SECOND}"""
    if True:
        async def g():
            """{THIRD}"""
            log("""{FIRST} {THIRD}""")
'''
    assert [string for string in documentation(source.encode()) if string] == [
        FIRST,
        f"{SECOND} {THIRD}",
        f"{THIRD} {FIRST}",
        f"{FIRST} {SECOND}",
        SECOND,
        THIRD,
    ]


def test_the_place_of_a_document_is_its_file():
    """The place of a document is its file with a line, as for other sources."""
    assert Packages((Path("a.py"), Path("b.py"))).place(1) == "b.py:1"
