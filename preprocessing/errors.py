"""The one error class for what a user can put right: input, options, files on disk.

`python -m preprocessing` prints its message and exits 1; any other exception is our own mistake and keeps its
traceback.
"""


class DataError(ValueError):
    """A file, a record or an option breaks a rule; the message names the place, the value, the rule and the remedy."""
