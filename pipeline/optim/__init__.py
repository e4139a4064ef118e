"""LAMB as pure mathematics, its norms over shards, and its binding to DeepSpeed's partitions."""
