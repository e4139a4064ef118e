"""Downloads raw text."""
