"""The transformer encoder over unpadded tokens, and its heads."""
