"""The planner: memory, speed and cost of a recipe on a cluster."""
