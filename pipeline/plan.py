"""Memory, time and cost of a training before it is begun: `python -m pipeline.plan RECIPE... --gpu h100 --gpus 64`.

Several recipes are the phases of one training. No GPU is needed: activations and FLOPs are measured on models without
memory (`pipeline.planning.measure`, `pipeline.model.flops`). What the engine adds is estimated, and time rests on an
assumed MFU."""

from pathlib import Path

from jsonargparse import ArgumentParser

from pipeline.planning.options import Options
from pipeline.runtime import command


def plan(arguments: list[str]) -> None:
    """Parse, plan, print."""
    parser = ArgumentParser(prog="plan", description="Plan a training: memory, time, cost.", exit_on_error=False)
    parser.add_argument("recipes", nargs="+", type=Path, help="Recipes, the phases of one training.")
    parser.add_class_arguments(Options)
    chosen = parser.instantiate(parser.parse_args(arguments))
    recipes = chosen.pop("recipes")
    options = Options(**vars(chosen))
    # Imported here: a help text and a wrong option need no torch.
    from pipeline.planning.phases import print_plan

    print_plan(recipes, options)


if __name__ == "__main__":
    command.main(plan)
