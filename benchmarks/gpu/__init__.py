"""Checks and measurements on one GPU, in sections that write their figures as soon as they have them."""
