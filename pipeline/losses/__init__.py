"""Losses as sums over rows; the caller divides them by counts over the global batch."""
