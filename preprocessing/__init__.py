"""Offline preprocessing of raw corpora to memory-mapped shards of samples: `python -m preprocessing --help`."""
