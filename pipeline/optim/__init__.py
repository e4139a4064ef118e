"""LAMB, AdamW and Muon: mathematics, norms and matrices over shards, and learning-rate schedules."""
