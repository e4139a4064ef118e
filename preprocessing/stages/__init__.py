"""The stages extract, tokenizer and build, each a function from directories to a directory; and verify."""
