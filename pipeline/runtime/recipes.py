"""Lookup of recipe files by path, or by the name of a recipe that is shipped with the package."""

from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile

SHIPPED = Path(__file__).resolve().parents[1] / "recipes"
RECIPE_HELP = "TOML file with the fields as sections and keys, or the name of a shipped recipe, such as bert_mini."


def find(recipe: str) -> Path:
    """The file of a recipe.

    Args:
        recipe: the path of a file or, if there is no such file, the name of a shipped recipe.

    Raises:
        ValueError: it is neither.
    """
    shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}
    if Path(recipe).is_file():
        return Path(recipe)
    if recipe in shipped:
        return shipped[recipe]
    raise ValueError(
        f"recipe {recipe}: no such file, and no recipe of this name comes with the package; give the path of a TOML "
        f"file, or one of {', '.join(shipped)}"
    )


class RecipeFile(ActionConfigFile):
    """The option `--recipe`, with a value as in `find`."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Apply the file to the configuration.

        Raises:
            ValueError: there is no such recipe.
        """
        super().__call__(parser, cfg, str(find(values)), option_string)
