"""Raw corpora to memory-mapped shards of sentence-pair samples, offline and without torch: `python -m preprocessing --help`."""
