"""The training loop, and what supervises it."""
