"""Exit statuses of the entry points, and the error of a rank that ends because another one failed."""

SUCCESS, ERROR, USAGE, FAULT, INTERRUPTED = 0, 1, 2, 70, 75
"""70 and 75 are EX_SOFTWARE and EX_TEMPFAIL of sysexits.h."""


class PeerError(RuntimeError):
    """Another rank has failed and prints the reason."""
