"""Optimizers of other projects, with which tests and benchmarks compare this project's optimizers."""

import importlib
import importlib.util
import sys
import types
from typing import Any


def timm_lamb() -> Any:
    """timm's `Lamb`, without timm's vision models.

    `import timm` imports torchvision, whose wheel needs torch's CUDA build; the optimizers alone do not.

    Raises:
        ImportError: timm is not installed (tests/oracles.txt).
    """
    if "timm" not in sys.modules:
        spec = importlib.util.find_spec("timm")
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("timm is not installed; pip install --no-deps -r tests/oracles.txt")
        root = spec.submodule_search_locations[0]
        for name, path in (("timm", root), ("timm.optim", f"{root}/optim")):
            sys.modules[name] = package = types.ModuleType(name)
            package.__path__ = [path]
    return importlib.import_module("timm.optim.lamb").Lamb
