"""Fused or specialised operations, each exact and each tested against a plain torch twin."""
