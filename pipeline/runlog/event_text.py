"""Human-readable text of events, one line each, also of events without some fields."""

from pipeline.runlog.reader import Line, is_number
from pipeline.runtime.formatting import binary_size, duration, printable

_START = {
    "world_size": "",
    "device": " x ",
    "precision": ", ",
    "zero_stage": ", ZeRO-",
    "host": ", on ",
    "job": ", job ",
}
"""The fields of a start that are shown, and the text before each."""


def event_text(event: Line) -> str:
    """The text of an event in one line, without its time."""
    said = {key: printable(value) for key, value in event.items() if value is not None}
    seconds = {key: duration(event[key]) for key in ("seconds", "stall_seconds") if is_number(event.get(key))}
    match event["kind"]:
        case "start":
            text = f"started at step {said['step']}: "
            text += "".join(word + said[key] for key, word in _START.items() if key in said)
        case "budget":
            text = budget_text(event)
        case "checkpoint":
            text = f"checkpoint of step {said['step']}"
            text += f", {binary_size(event['bytes'])}" if is_number(event.get("bytes")) else ""
            text += f", written in {seconds['seconds']}" if "seconds" in seconds else ""
            text += f", training waited {seconds['stall_seconds']}" if "stall_seconds" in seconds else ""
        case "broken_checkpoint":
            text = f"broken checkpoint {said.get('path', '')}: {said.get('reason', 'no reason given')}"
        case "skipped_step":
            text = f"step {said['step']} skipped, {said.get('consecutive', '?')} in a row"
            text += f"; its samples: {said['file']}" if "file" in said else ""
        case "interrupted":
            text = f"interrupted at step {said['step']} by {said.get('signal', 'a signal')}"
        case "failed":
            text = f"failed at step {said['step']}: {said.get('error', 'no error given')}"
        case "floors":
            losses = [f"{key} {event[key]:.2f}" for key in ("unigram", "context") if is_number(event.get(key))]
            text = f"floors of the held-out loss: {', '.join(losses) or 'none given'} nats"
        case kind:
            text = f"{printable(kind)} at step {said['step']}"
    return text


def budget_text(event: Line) -> str:
    """The text of the number of steps that a budget in minutes allows.

    Args:
        event: an event of kind "budget", or another mapping with `minutes`, `total_steps` and `step_seconds`.
    """
    if not all(is_number(event.get(key)) for key in ("minutes", "total_steps", "step_seconds")):
        return "budget of minutes"
    return f"{event['minutes']:g} minutes: {event['total_steps']:,} steps at {event['step_seconds']:.2g} s each"
