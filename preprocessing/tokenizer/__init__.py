"""Tokenizers of the BERT family: trained or read from published files, saved in the format of `transformers`."""
