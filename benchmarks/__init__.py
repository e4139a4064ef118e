"""Measurements that `docs/benchmarks.md` reports; each module is a command."""
