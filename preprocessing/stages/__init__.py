"""The stages of the pipeline, each a function from directories to a directory: extract -> tokenizer -> build."""
