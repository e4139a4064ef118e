"""Ranks, launchers, devices, signals, logs, exit statuses, and the command line."""
