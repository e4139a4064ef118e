"""What others do with the same text; each file is a program that runs in an environment of its own."""
