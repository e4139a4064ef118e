"""The parameter groups of an optimizer, which DeepSpeed partitions each by itself."""

from typing import Any

from torch import nn

from pipeline.optim.parameters import Parameters


def parameter_groups(model: nn.Module, parameters: Parameters, *, muon: bool = False) -> list[dict[str, Any]]:
    """Return groups of the trained parameters, with and without weight decay; tied ones appear once.

    Args:
        model: the model.
        parameters: what the family says of its parameters.
        muon: whether the matrices of layers form groups of their own, which Muon updates.

    Raises:
        ValueError: they should, and there are none.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (muon and parameters.is_matrix(name), parameters.decays(name))
            groups.setdefault(key, []).append(parameter)
    if muon and not any(is_muons for is_muons, _ in groups):
        raise ValueError(
            "optimizer.name = muon: no trained parameter is a matrix of a layer (Parameters.is_matrix of the family); "
            "use lamb or adamw"
        )
    return [
        {"params": group, "decayed": decayed, "muon": is_muons}
        for (is_muons, decayed), group in sorted(groups.items(), reverse=True)
    ]
