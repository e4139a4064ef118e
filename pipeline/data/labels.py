"""Reserved label values."""

IGNORED = -1
"""Label of a row that contributes to no loss and no count."""
