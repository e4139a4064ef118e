"""Measures the output of the stages, warns of unusual figures, and shows both as text or as an HTML page."""
