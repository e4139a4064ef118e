"""Memory, time and cost of a training before it is begun: `python -m pipeline.plan RECIPE... --gpu h100 --gpus 64`.

Several recipes are the phases of one training. No GPU is needed: activations and FLOPs are measured on models without
memory (`pipeline.planning.measure`, `pipeline.model.flops`). What the engine adds is estimated, and time rests on an
assumed MFU."""

from jsonargparse import ArgumentParser

from pipeline.planning.options import Options
from pipeline.runtime import command
from pipeline.runtime.recipes import RECIPE_HELP, find


def plan(arguments: list[str]) -> None:
    """Parse, plan, print."""
    parser = ArgumentParser(
        prog=command.program("pipeline.plan"),
        description="Plan a training: memory, time, cost.",
        exit_on_error=False,
    )
    parser.add_argument("recipes", nargs="+", type=str, help=f"The phases of one training, each a {RECIPE_HELP}")
    parser.add_class_arguments(Options)
    chosen = parser.instantiate(parser.parse_args(arguments))
    recipes = [find(recipe) for recipe in chosen.pop("recipes")]
    options = Options(**vars(chosen))
    # Imported here: a help text and a wrong option need no torch.
    from pipeline.planning.phases import print_plan

    print_plan(recipes, options)


def main() -> None:
    """The installed command `bert-plan`."""
    command.main(plan)


if __name__ == "__main__":
    main()
