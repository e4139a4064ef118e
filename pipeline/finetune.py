"""Fine-tune a model: `python -m pipeline.finetune TASK --model DIR --data DIR [--out DIR] [--section.field value ...]`.

A run that exists in the directory `--out` continues from its newest checkpoint. With `--sweep.rates` or
`--sweep.seeds`, or with `glue` as the task, there are several runs below that directory.
"""

from pipeline.jobs.finetuning.cells import Sweep, parse_runs
from pipeline.runtime import command
from pipeline.runtime.signals import StopSignals


def finetune(arguments: list[str]) -> None:
    """Parse the command line and fine-tune.

    Raises:
        Exception: as `pipeline.jobs.finetuning.cells.parse_runs` and `pipeline.jobs.finetuning.run.finetune`.
    """
    signals = StopSignals()
    with signals.listening():
        with signals.ending_at_once():
            runs = parse_runs(arguments)
            # Imported here, because help texts and errors of options do not need torch.
            from pipeline.jobs.finetuning import run, sweep

        if isinstance(runs, Sweep):
            print(sweep.run_sweep(runs, signals))
            return
        results = run.finetune(runs, signals)
        for split, metrics in results["results"].items():
            print(f"{split}: " + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


def main() -> None:
    """The installed command `bert-finetune`."""
    command.main(finetune)


if __name__ == "__main__":
    main()
