"""Estimates of memory, time and cost of a training: `python -m pipeline.plan RECIPE... --gpu h100 --gpus 64`.

Several recipes are the phases of one training. No GPU is needed: activations and FLOPs are measured on the meta device
(`pipeline.planning.measure`, `pipeline.model.flops`). The memory of the engine is estimated, and times assume an MFU.
"""

from jsonargparse import ArgumentParser

from pipeline.planning.options import Options
from pipeline.runtime import command
from pipeline.runtime.recipes import RECIPE_HELP, find


def plan(arguments: list[str]) -> None:
    """Parse the command line and print the plan.

    Raises:
        jsonargparse.ArgumentError: an unknown option, or an invalid value.
        ValueError: a recipe cannot be planned, or the training does not fit.
    """
    parser = ArgumentParser(
        prog=command.program("pipeline.plan"),
        description="Estimate memory, time and cost of a training.",
        exit_on_error=False,
    )
    parser.add_argument("recipes", nargs="+", type=str, help=f"The phases of one training, each a {RECIPE_HELP}")
    parser.add_class_arguments(Options)
    chosen = parser.instantiate(parser.parse_args(arguments))
    recipes = [find(recipe) for recipe in chosen.pop("recipes")]
    options = Options(**vars(chosen))
    # Imported here, because help texts and errors of options need no torch.
    from pipeline.planning.phases import print_plan

    print_plan(recipes, options)


def main() -> None:
    """The installed command `bert-plan`."""
    command.main(plan)


if __name__ == "__main__":
    main()
