"""The files of a run (events, metrics, schedules, heartbeat), their writers and their readers."""
