"""The unpadded transformer encoder and the heads that families put on it."""
