"""Reports of a run: page, figures, and the live view."""
