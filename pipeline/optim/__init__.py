"""The optimizers LAMB, AdamW and Muon over shards of the parameters, weight averaging, and learning-rate schedules."""
