"""Strategies that make samples of sentences: each is a pure function of sentence lengths and random numbers."""
