"""Pre-train a model: `deepspeed --module pipeline.pretrain --recipe FILE.toml [--section.field value ...]`.

Also under torchrun and, without a launcher, as a single process. A run that exists is continued from its newest
checkpoint.
"""

import os

from pipeline.config import Recipe, parse
from pipeline.runtime import command, launch
from pipeline.runtime.command import USER_ERRORS
from pipeline.runtime.launchers import following_launcher
from pipeline.runtime.signals import StopSignals
from pipeline.runtime.terminal import tolerating_closed_output


def pretrain(arguments: list[str]) -> None:
    """Parse and join the other ranks; then train, unless another process trains the same run."""
    signals = StopSignals()
    with tolerating_closed_output(), signals.listening(), following_launcher():
        with signals.ending_at_once():
            recipe, error = read(arguments)
            # Imported here: a help text and a wrong option need neither torch nor DeepSpeed.
            from pipeline.jobs import pretraining

            device = pretraining.join(recipe, error)
        assert recipe is not None, "join raises what was wrong with it"
        pretraining.pretrain(recipe, device, signals)


def read(arguments: list[str]) -> tuple[Recipe | None, Exception | None]:
    """The recipe of a command line, or what is wrong with it where other ranks have to hear of it.

    Raises:
        Exception: what is wrong with it, in a process that is alone.
    """
    try:
        # The deepspeed launcher adds --local_rank; the environment says the same.
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
