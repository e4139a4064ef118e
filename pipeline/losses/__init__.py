"""Losses over rows, as sums: what they are divided by is a property of the global batch, known elsewhere."""
