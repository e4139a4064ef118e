"""Readers of raw corpora, one file per kind of input; each turns a path into splits that yield documents."""
