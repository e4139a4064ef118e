"""Declarations shared by the families with a generator and an encoder that detects replaced tokens."""

from collections.abc import Container, Mapping
from dataclasses import asdict

from pipeline.families.encoders import decays, stacks
from pipeline.model.config import EncoderConfig
from pipeline.optim.parameters import Parameters


def is_matrix(name: str) -> bool:
    """Return whether a parameter is a matrix of a layer of the encoder or the generator."""
    return name.startswith(("encoder.layers.", "generator.layers.")) and decays(name)


PARAMETERS = Parameters(decays, stacks, is_matrix)


def in_discriminator(name: str) -> str:
    """Return a parameter's name in the encoder with its head; empty for a parameter of the generator."""
    return name if name.startswith(("encoder.", "detection_head.")) else ""


def in_generator(name: str, prefixes: Mapping[str, str]) -> str:
    """Return a parameter's name in the generator alone; empty for a parameter that it lacks.

    Args:
        name: name in the whole model.
        prefixes: prefixes of names in the whole model -> prefixes in the generator alone.
    """
    for whole, alone in prefixes.items():
        if name.startswith(whole):
            return alone + name.removeprefix(whole)
    return ""


def require_generator(wanted: EncoderConfig, found: EncoderConfig, own: Container[str], beside: str) -> None:
    """Check that a generator that was read has the configuration that follows from that of the encoder.

    Args:
        wanted: the generator's configuration as it follows from the encoder's.
        found: that which was read.
        own: names of fields that a `config.json` does not have.
        beside: the encoder's decisive field with its value, for the message.

    Raises:
        ValueError: a field differs; the message names it.
    """
    theirs = asdict(found)
    for name, value in asdict(wanted).items():
        if name not in own and theirs[name] != value:
            raise ValueError(
                f"config.json of the generator: {name} = {theirs[name]!r}: must be {value!r} beside an encoder with "
                f"{beside}; take both from the same model"
            )
