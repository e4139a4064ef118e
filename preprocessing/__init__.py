"""Raw corpora to memory-mapped shards of sentence-pair samples, offline: `python -m preprocessing --help`."""
