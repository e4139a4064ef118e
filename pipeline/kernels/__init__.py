"""Fused or specialised operations, each tested against the same operation in plain torch."""
