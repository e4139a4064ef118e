"""`pipeline.pretrain` with other constants of the initialisation by position, which `--constants` has as JSON."""

import json
import sys
from typing import Any

from pipeline import pretrain
from pipeline.model import initialization, relative_initialization


def change(constants: dict[str, Any]) -> None:
    """Sets constants of `pipeline.model.initialization` in this process, also where another module has imported them.

    Args:
        constants: values by name; `offsets` has those of the first heads of each layer, a list per layer.
    """
    offsets = constants.pop("offsets", None)
    if offsets is not None:
        constants["first_offsets"] = lambda layer, *_: tuple(offsets[layer]) if layer < len(offsets) else ()
    for module in (initialization, relative_initialization):
        for name in constants.keys() & vars(module).keys():
            setattr(module, name, constants[name])


if __name__ == "__main__":
    place = sys.argv.index("--constants")  # behind what the launcher adds
    _, constants = sys.argv[place : place + 2]
    del sys.argv[place : place + 2]
    change(json.loads(constants))
    pretrain.main()
