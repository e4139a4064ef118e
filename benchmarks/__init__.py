"""Measurements behind `docs/benchmarks.md`, each one command."""
