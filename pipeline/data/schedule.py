"""Schedules of the data: pure functions of the optimizer step."""


def progress(step: int, total_steps: int) -> float:
    """Returns the share of the run before a step, in [0, 1).

    Args:
        step: optimizer step, from 1.
        total_steps: steps of the run.
    """
    return (step - 1) / total_steps
