"""Pre-train a model: `deepspeed --module pipeline.pretrain --recipe FILE.toml [--section.field value ...]`.

It also runs under torchrun and, without a launcher, as a single process. An existing run continues from its newest
checkpoint.
"""

import os

from pipeline.config import Recipe, parse
from pipeline.runtime import command, launch
from pipeline.runtime.command import USER_ERRORS
from pipeline.runtime.launchers import following_launcher
from pipeline.runtime.signals import StopSignals


def pretrain(arguments: list[str]) -> None:
    """Parse the command line, join the other ranks and train.

    Raises:
        Exception: as `pipeline.jobs.pretraining.join` and `pretrain`.
    """
    signals = StopSignals()
    with signals.listening(), following_launcher():
        with signals.ending_at_once():
            recipe, error = read(arguments)
            # Imported here, because help texts and errors of options need neither torch nor DeepSpeed.
            from pipeline.jobs import pretraining

            device = pretraining.join(recipe, error)
        assert recipe is not None, "join raises its error"
        pretraining.pretrain(recipe, device, signals)


def read(arguments: list[str]) -> tuple[Recipe | None, Exception | None]:
    """Return the recipe of a command line and None or, among several ranks, None and the error in it.

    Raises:
        Exception: the error, in a process that is the only rank.
    """
    try:
        # The deepspeed launcher adds --local_rank, which the environment contains too.
        return parse([argument for argument in arguments if not argument.startswith("--local_rank")]), None
    except (command.ArgumentError, *USER_ERRORS) as error:
        if launch.world_size(os.environ) == 1:
            raise
        return None, error


def main() -> None:
    """The installed command `bert-pretrain`."""
    command.main(pretrain)


if __name__ == "__main__":
    main()
