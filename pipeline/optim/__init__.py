"""LAMB and AdamW: mathematics, norms over shards, and learning-rate schedules."""
