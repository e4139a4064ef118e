"""Conversion between checkpoints and Hugging Face models."""
