"""The work of the entry points, step by step."""
