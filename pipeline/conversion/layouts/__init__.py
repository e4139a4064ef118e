"""Layouts of pre-trained models on disk: each module reads one, and gives its parameters Hugging Face's names."""
