"""Readers of raw corpora: each kind of source cuts its input into splits, which yield documents."""
