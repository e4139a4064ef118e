"""Text of a plan: assumptions, tables and recommendation."""

from pipeline.planning.choice import Choice, Phase, Timing, deepspeed_json
from pipeline.planning.options import STAGES, Options
from pipeline.runtime.formatting import GIB, rounded_duration

LARGEST_SHOWN = 1024
"""Largest micro-batch in the table of memory."""


Row = tuple[int, Choice | None, Timing | None]
"""Number of GPUs, choice and times; None if nothing fits."""


def chosen_at(rows: list[Row], gpus: int) -> tuple[Choice, Timing]:
    """Return the choice and times for a number of GPUs on which the phase fits."""
    choice, time = next((choice, time) for number, choice, time in rows if number == gpus)
    assert choice is not None and time is not None, "`scaling` stops where nothing fits"
    return choice, time


def phase_summary(phase: Phase) -> str:
    """Return lines with the model, steps and samples of a phase, and with assumed properties of the samples, if any."""
    samples, schedule, batch = phase.samples, phase.recipe.schedule, phase.global_batch
    growing = f"{phase.smallest_batch:,} to " if phase.smallest_batch < batch else ""
    if phase.flops is not None:
        steps, work = f"{schedule.total_steps:,} steps", f"{phase.flops:.3g} FLOP"
    else:
        steps = f"as many steps as {schedule.minutes:g} minutes allow,"
        work = f"{phase.flops_per_sample:.3g} FLOP a sample"
    size = f"{phase.parameters.total / 1e6:,.1f} M parameters"
    if phase.auxiliary:
        size += f" and a {phase.auxiliary.title} of {phase.parameters.auxiliary / 1e6:,.1f} M"
    text = (
        f"{phase.name}: {size}, {steps} of {growing}{batch:,} samples\n"
        f"{work}; up to {samples.seq_length} tokens a sample, {samples.mean_tokens:.0f} on average, "
        f"vocabulary {samples.vocab_size:,}"
    )
    if samples.assumed:
        text += f"\n{phase.recipe.data.samples} does not exist yet; assumed: {' and '.join(samples.assumed)}"
    if phase.auxiliary and phase.auxiliary.assumed:
        text += f"\n{phase.auxiliary.assumed}"
    return text


def memory_table(phase: Phase, options: Options) -> str:
    """Return a table of GiB per GPU by micro-batch and stage."""
    per_gpu = phase.smallest_batch // options.gpus
    lines = [
        f"GiB on each of {options.gpus} GPUs; * does not fit. In brackets with activation checkpointing.",
        "  micro-batch " + "".join(f"{f'ZeRO-{stage}':>18}" for stage in STAGES),
    ]
    size = 1
    while size <= min(per_gpu, LARGEST_SHOWN):
        cells, fits = [], False
        for stage in STAGES:
            totals = [phase.memory(options.gpus, stage, size, checkpointing).total for checkpointing in (False, True)]
            plain, saving = (f"{total / GIB:.1f}{' ' if total <= options.usable else '*'}" for total in totals)
            cells.append(f"{f'{plain} ({saving.strip()})':>18}")
            fits = fits or min(totals) <= options.usable
        lines.append(f"  {size:>11} " + "".join(cells))
        if not fits:
            break
        size *= 2
    return "\n".join(lines)


def advice(phase: Phase, rows: list[Row], options: Options) -> str:
    """Return the recommended stage and micro-batch, their memory by part, and the lines for the recipe."""
    choice, time = chosen_at(rows, options.gpus)
    sizes = choice.memory.parts.items()
    parts = ", ".join(f"{part} {size / GIB:.2f}" for part, size in sizes if size > 0.005 * GIB)
    hidden = 1 - time.traffic.exposed / time.traffic.seconds if time.traffic.seconds else 1.0
    lines = [
        f"Recommended on {options.gpus}: ZeRO-{choice.stage}, micro-batch {choice.micro_batch}, accumulated "
        f"{choice.accumulation} times; {choice.memory.total / GIB:.1f} GiB at most, in the {choice.memory.phase}",
        f"  {parts}",
        f"A step: {time.compute:.3g} s of computation, {time.traffic.volume / 1e9:.3g} GB past each GPU in "
        f"{time.traffic.seconds:.3g} s, {hidden:.0%} of it hidden",
        *([f"{phase.recipe.schedule.minutes:g} minutes: {time.steps:,} steps"] if phase.flops is None else []),
        "In the recipe:",
        f"  [batch]\n  micro_batch_size = {choice.micro_batch}",
        f'  [engine]\n  deepspeed = "{deepspeed_json(choice.stage)}"\n  precision = "{phase.precision}"',
    ]
    if choice.checkpointing:
        lines.append("  [model]\n  activation_checkpointing = true")
    return "\n".join(lines)


def scaling_table(rows: list[Row], options: Options) -> str:
    """Return a table of time and cost by number of GPUs."""
    lines = [
        f"  {'GPUs':>6}  ZeRO x micro-batch   GiB   step s  comm. GB  comm. s  exposed    sequences/s  "
        f"{_cost_header(options)}"
    ]
    for gpus, choice, time in rows:
        if choice is None or time is None:
            lines.append(f"  {gpus:>6}  nothing fits")
            continue
        way = f"{choice.stage} x {choice.micro_batch} x {choice.accumulation}{' ckpt' if choice.checkpointing else ''}"
        moved = time.traffic
        lines.append(
            f"  {gpus:>6}  {way:<17} {choice.memory.total / GIB:>6.1f} {time.step:>8.3g} {moved.volume / 1e9:>9.3g} "
            f"{moved.seconds:>8.3g} {moved.exposed / time.step:>8.0%} {time.sequences_per_second:>14,.0f}  "
            f"{_cost(gpus, time.seconds, options)}"
        )
    return "\n".join(lines)


def total_table(table: list[list[Row]], options: Options) -> str:
    """Return a table of time and cost of all phases together."""
    lines = ["All phases", f"  {'GPUs':>6}  {_cost_header(options)}"]
    for rows in zip(*table, strict=True):
        times = [time.seconds for _, _, time in rows if time]
        if len(times) == len(rows):
            lines.append(f"  {rows[0][0]:>6}  {_cost(rows[0][0], sum(times), options)}")
    return "\n".join(lines)


def _cost_header(options: Options) -> str:
    return f"{'time':>10} {'GPU-hours':>12}" + (f" {'cost':>14}" if options.price else "")


def _cost(gpus: int, seconds: float, options: Options) -> str:
    hours = gpus * seconds / 3600
    return f"{rounded_duration(seconds):>10} {hours:>12,.1f}" + (
        f" {hours * options.price:>14,.2f}" if options.price else ""
    )
