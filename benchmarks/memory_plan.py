"""Measured peaks of memory beside the estimates of `pipeline.planning.memory`: `python -m benchmarks.memory_plan`.

Each case is a training of its own (`benchmarks.training.Side`, the side `this`), one after the other; measured is the
peak of the resident set of one rank. Prints a Markdown table with the ratio of estimated to measured.
"""

from itertools import product
from typing import Literal

from jsonargparse import auto_cli

from benchmarks.lamb import MODELS, VOCAB_SIZE
from benchmarks.step_sides import Job
from benchmarks.training import Side
from pipeline.engine.settings import Zero, find_deepspeed_json, read_deepspeed_json
from pipeline.families.bert import FAMILY
from pipeline.planning.measure import MicroBatch
from pipeline.planning.memory import estimate
from pipeline.runtime.formatting import GIB


def main(
    models: list[Literal["mini", "base", "large"]] = ["mini"],  # noqa: B006  jsonargparse reads it
    stages: list[int] = [0, 1, 2, 3],  # noqa: B006
    precisions: list[Literal["fp32", "bf16"]] = ["fp32"],  # noqa: B006
    ranks: list[int] = [1],  # noqa: B006
    sequences: list[int] = [8, 32],  # noqa: B006
    length: int = 128,
    masked: int = 20,
    steps: int = 2,
    cores: int = 2,
) -> None:
    """Measures all combinations.

    Args:
        models: shapes of BERT.
        stages: of ZeRO, with the JSONs of ds_configs.
        precisions: bf16 is slow where the processor lacks it.
        ranks: processes.
        sequences: micro-batches, of each rank.
        length: tokens of each sequence.
        masked: masked tokens of each.
        steps: steps before the peak is read; from the second on the heap is fragmented.
        cores: shared by the ranks.
    """
    print("| | phase | estimated GiB | measured GiB | ratio |\n|---|---|---|---|---|", flush=True)
    for model, precision, stage, count, micro in product(models, precisions, stages, ranks, sequences):
        json = f"ds_configs/zero{stage}_{precision}.json"
        job = Job("this", micro * count, count, model=model, length=length, masked=masked, deepspeed=json)
        side = Side(job, cores)
        measured = side.steps(steps)["peak_gib"] / count
        side.close()
        config = MODELS[model]
        estimated = estimate(
            FAMILY.build,
            config,
            VOCAB_SIZE,
            MicroBatch(micro, length, masked),
            Zero.of(read_deepspeed_json(find_deepspeed_json(json))),
            precision=precision,
            world_size=count,
            kind="cpu",
            accumulating=False,
        )
        name = f"{model}, {precision}, ZeRO-{stage}, {count} x {micro} x {length}"
        print(
            f"| {name} | {estimated.phase} | {estimated.total / GIB:.3f} | {measured:.3f} "
            f"| {estimated.total / GIB / measured:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
