"""Labels of a batch that have a meaning of their own."""

IGNORED = -1
"""Label of a row that contributes to no loss and no count."""
