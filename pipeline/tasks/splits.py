"""Names of the splits of a task's examples."""

TRAIN, DEV, TEST = "train", "dev", "test"


def is_labelled(split: str) -> bool:
    """Return whether the examples of a split have labels, by its name: those of test splits are predicted."""
    return not split.startswith(TEST)
