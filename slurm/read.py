"""What submit.sh cannot read by itself; needs nothing but Python.

read.py words OPTION TEXT            the words of an option's text, quotes taken as a shell takes them
read.py run_dir RECIPE [option ...]  the run's directory of a recipe and the options that override it
"""

import shlex
import sys


def words(option: str, text: str) -> str:
    """Each word quoted for `eval`. Raises ValueError where a quote is not closed."""
    return shlex.join(shlex.split(text))


def run_dir(recipe: str, *options: str) -> str:
    """Empty where neither says it. Raises ValueError where the recipe is not TOML, OSError where it cannot be read."""
    try:
        import tomllib
    except ImportError:
        raise ValueError(f"{sys.executable} is older than Python 3.11, which reads recipes; set SITE_VENV") from None
    with open(recipe, "rb") as file:
        found = str(tomllib.load(file).get("run_dir", ""))
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
