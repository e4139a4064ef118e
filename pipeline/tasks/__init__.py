"""The tasks of fine-tuning: their files, examples as tokens, losses and metrics."""
