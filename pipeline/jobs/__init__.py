"""What each entry point does, step by step."""
