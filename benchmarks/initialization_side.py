"""`pipeline.pretrain` with other constants of the initialisation by position, which `--constants` has as JSON."""

import json
import sys
from typing import Any

from pipeline import pretrain
from pipeline.model import initialization


def change(constants: dict[str, Any]) -> None:
    """Sets constants of `pipeline.model.initialization` in this process.

    Args:
        constants: values by name; `offsets` has those of the first heads of each layer, a list per layer.
    """
    offsets = constants.pop("offsets", None)
    for name, value in constants.items():
        setattr(initialization, name, value)
    if offsets is not None:
        initialization.first_offsets = lambda layer, *_: tuple(offsets[layer]) if layer < len(offsets) else ()


if __name__ == "__main__":
    place = sys.argv.index("--constants")  # behind what the launcher adds
    _, constants = sys.argv[place : place + 2]
    del sys.argv[place : place + 2]
    change(json.loads(constants))
    pretrain.main()
