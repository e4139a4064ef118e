"""Documents on disk: how they are stored, deduplicated, mixed, and which language they are in."""
