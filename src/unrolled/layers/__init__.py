"""Layers: sequences in, sequences out."""
