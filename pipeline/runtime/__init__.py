"""Processes and machines: ranks, launchers, signals, logs, errors, and the command line."""
