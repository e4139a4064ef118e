"""Sentences to samples, one file per strategy: each is a pure function of sentence lengths and random numbers."""
