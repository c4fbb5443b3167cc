"""Recurrent sequence models for PyTorch: write one step, run it over whole sequences."""

__version__ = "0.1.0"
