"""The files of a run: events, metrics and attempts, with their writers and readers."""
