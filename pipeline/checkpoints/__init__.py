"""Checkpoints on disk: format, validation, saving in the background, and safe reading of model files."""
