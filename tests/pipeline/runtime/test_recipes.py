"""A recipe is found by its path or by the name of a shipped recipe."""

import pytest

from pipeline.config import parse
from pipeline.runtime.recipes import SHIPPED, find


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_recipe_is_found_by_its_name_in_any_directory(tmp_path, monkeypatch, path):
    """A shipped recipe is found by its name, which may have dots, even beside a directory of this name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / path.stem).mkdir()
    assert find(path.stem) == path
    assert parse(["--recipe", path.stem]) == parse([f"--recipe={path}"])


def test_a_file_comes_before_a_name(tmp_path, monkeypatch):
    """An existing file takes precedence over a shipped recipe of the same name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").write_text("seed = 7")
    assert find("demo").read_text() == "seed = 7"


def test_an_unknown_recipe_is_told_the_known_ones():
    """The error for an unknown recipe lists the names of the known ones, whose files a user does not see."""
    with pytest.raises(ValueError, match=r"^recipe bert_mni: no such file, .* one of albert_base, .*, demo, "):
        parse(["--recipe", "bert_mni"])
