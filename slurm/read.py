"""Read quoted words and recipes for submit.sh, with Python's standard library alone.

read.py words OPTION TEXT            the words of an option's text, quotes taken as a shell takes them
read.py run_dir RECIPE [option ...]  the run's directory of a recipe and the options that override it
"""

import shlex
import sys


def words(option: str, text: str) -> str:
    """Each word of an option's text, quoted for `eval`.

    Raises:
        ValueError: a quote is not closed.
    """
    return shlex.join(shlex.split(text))


def run_dir(recipe: str, *options: str) -> str:
    """The run's directory; empty if neither the recipe nor an option sets it.

    Raises:
        ValueError: the recipe is not TOML, or its run_dir is not text.
        OSError: the recipe cannot be read.
    """
    try:
        import tomllib
    except ImportError:
        raise ValueError(f"{sys.executable} is older than Python 3.11, which reads recipes; set SITE_VENV") from None
    with open(recipe, "rb") as file:
        found = tomllib.load(file).get("run_dir", "")
    if not isinstance(found, str):
        raise ValueError(f"run_dir = {found!r}: must be text; write the directory in quotes")
    for option, following in zip(options, [*options[1:], ""], strict=False):
        if option == "--run_dir":
            found = following
        elif option.startswith("--run_dir="):
            found = option.partition("=")[2]
    return found


if __name__ == "__main__":
    try:
        print({"words": words, "run_dir": run_dir}[sys.argv[1]](*sys.argv[2:]))
    except (ValueError, OSError) as error:
        print(
            f"error: {' '.join(sys.argv[2:4] if sys.argv[1] == 'words' else sys.argv[2:3])}: {error}", file=sys.stderr
        )
        sys.exit(2)
