"""Other systems that preprocess the same text; each file is a program that runs in its own environment."""
