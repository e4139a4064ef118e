"""Reports on runs: an HTML page, figures, verdicts, and a live view on the terminal."""
