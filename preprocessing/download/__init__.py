"""Downloads raw text: dumps of Wikipedia, and any files."""
