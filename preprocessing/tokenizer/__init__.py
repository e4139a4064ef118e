"""Tokenizers of the BERT family, given or trained, saved as `transformers` loads them, fast over whole partitions."""
