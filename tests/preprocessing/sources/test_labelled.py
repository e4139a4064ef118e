"""Laws of preprocessing/sources/labelled.py."""

import random

import pytest

from preprocessing import __main__
from preprocessing.errors import DataError
from preprocessing.sources import labelled
from preprocessing.sources.distributions import Installed
from preprocessing.sources.embedded import Modules
from preprocessing.sources.labelled import COLUMNS, DISTRIBUTIONS, LABELS, PYTHON, Paragraph, choose, is_usable

WORDS = ["apple", "bridge", "cloud", "engine", "forest", "harbour", "island", "jungle", "kettle", "ladder", "mirror"]


def sentence(seed):
    """Return a sentence of English function words and words of no meaning."""
    words = random.Random(seed).choices(WORDS, k=7)
    return f"This is the {words[0]} of a {words[1]} that has {' and '.join(words[2:])} in it."


def write_file(path, seeds):
    """Write a module with a docstring for each seed."""
    path.write_text("".join(f'def f{seed}():\n    """{sentence(seed)}"""\n' for seed in seeds))
    return path


@pytest.fixture
def libraries(tmp_path, monkeypatch):
    """Ten files of each library with three paragraphs in each, of which the first is in all libraries."""
    found = {}
    for number, label in enumerate(LABELS):
        names = [f"{label}/{file}.py" for file in range(10)]
        seeds = {name: [3 * file, *(1000 * number + 3 * file + k for k in (1, 2))] for file, name in enumerate(names)}
        (tmp_path / label).mkdir()
        found[label] = {name: write_file(tmp_path / name, seeds[name]) for name in names}
    monkeypatch.setattr(labelled, "find_libraries", lambda: found)
    return found


def read(path):
    """Return the rows of a file below its header."""
    header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert tuple(header) == COLUMNS
    return [Paragraph(*row) for row in rows]


def test_splits_are_balanced_and_share_no_file_and_no_paragraph(libraries, tmp_path, capsys):
    """The command writes equally many paragraphs of each library, and a second call writes the same."""
    command = ["classification", "--out", str(tmp_path / "out"), "--train", "12", "--dev", "6"]
    assert __main__.main(command) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: 72 train and 36 dev paragraphs of {', '.join(LABELS)}\n"
    train, dev = (read(tmp_path / "out" / f"{name}.tsv") for name in ("train", "dev"))
    for rows, number in ((train, 12), (dev, 6)):
        assert [sum(row.label == label for row in rows) for label in LABELS] == [number] * len(LABELS)
        assert [row.label for row in rows[: len(LABELS)]] == list(LABELS)
    assert not {row.file for row in train} & {row.file for row in dev}
    assert len({row.text for row in train + dev}) == len(train + dev)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert __main__.main(command) == 0
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_file_of_another_content_is_kept(libraries, tmp_path, capsys):
    """A file that the command did not write is an error, and stays as it is."""
    (tmp_path / "train.tsv").write_text("mine")
    assert __main__.main(["classification", "--out", str(tmp_path), "--train", "1", "--dev", "1"]) == 1
    assert "train.tsv: exists and has another content; give another --out" in capsys.readouterr().err
    assert (tmp_path / "train.tsv").read_text() == "mine" and not (tmp_path / "dev.tsv").exists()


def test_the_order_of_the_files_has_no_effect(libraries):
    """The choice depends on the names of the files, not on their order or their directory."""
    files = libraries[PYTHON]
    assert choose(PYTHON, dict(reversed(files.items())), 9, 6) == choose(PYTHON, files, 9, 6)


def test_too_few_paragraphs_are_an_error(libraries):
    """More paragraphs than a library has are an error that states how many there are."""
    with pytest.raises(DataError, match="--train 40 and --dev 6: python has about 30 paragraphs that can be used"):
        choose(PYTHON, libraries[PYTHON], 40, 6)


def test_no_file_has_more_than_its_share(tmp_path):
    """Of a file with many paragraphs the first ones are taken."""
    files = {"large.py": write_file(tmp_path / "large.py", range(50)), "b.py": write_file(tmp_path / "b.py", [90])}
    train, dev = choose("numpy", files, 1, 1)
    assert {row.file for row in train + dev} == set(files)
    with pytest.raises(DataError, match="has about 11 paragraphs"):
        choose("numpy", files, 20, 1)


@pytest.mark.parametrize("name", ["PyTorch", "NumPy", "torchvision", "Hugging Face", "DeepSpeed", "CPython", "pyplot"])
def test_paragraphs_that_name_a_library_are_left_out(name):
    """A paragraph that names one of the libraries, in any case and in part of a word, is not used."""
    text = "It returns the name of the object as a string that {} and all its users can read."
    assert is_usable(text.format("the owner")) and not is_usable(text.format(name))
    assert not is_usable("It is too short to be used.")


@pytest.fixture
def standard(tmp_path, monkeypatch):
    """A standard library of one module."""
    monkeypatch.setattr(labelled.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(labelled, "split_library", lambda: [Modules((tmp_path / "json" / "decoder.py",))])


def test_a_library_that_is_missing_is_named(standard, monkeypatch):
    """A distribution that is not installed is an error."""
    monkeypatch.setattr(labelled, "find_distributions", lambda: ([], []))
    with pytest.raises(DataError, match="deepspeed is not installed; its documentation is part of the examples"):
        labelled.find_libraries()


def test_files_have_names_below_the_directory_of_their_library(standard, tmp_path, monkeypatch):
    """The libraries are in the order of their labels; other distributions are not used."""
    found = [Installed(name, "1", tmp_path, (tmp_path / name / "a.py",)) for name in ("rich", *reversed(DISTRIBUTIONS))]
    monkeypatch.setattr(labelled, "find_distributions", lambda: (found, []))
    names = {label: list(files) for label, files in labelled.find_libraries().items()}
    assert list(names.items()) == [
        (label, ["json/decoder.py" if label == PYTHON else f"{label}/a.py"]) for label in LABELS
    ]
